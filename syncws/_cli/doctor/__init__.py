"""`syncws doctor`: what is wrong with a machine, an application or a deployment, and the line that mends it.

Floor 6: a part of `_cli`.

* `mending`: the lines of each program, by what is to change.
* `finding`: what a check has found.
* `report`: findings as text and as JSON.
* `facts`: what the system says of itself.
* `machine`: the checks of this machine.
* `frameworks`: what an application is, and what its program has made.
* `servers`: the WSGI servers that are installed.
* `gunicornconf`: the settings of gunicorn beside an application.
* `application`: the checks of an application.
* `standin`: an echo that takes the application's place, and tells what has come.
* `visitor`: how a deployment is reached.
* `fronts`: what stands in front, as far as answers show.
* `refusals`: what an answer that is no 101 means.
* `handshakes`: the checks that need a handshake and no more.
* `conversations`: the checks that talk.
* `patience`: the checks that wait.
* `deployment`: all checks of a deployment, in their order.
* `command`: the command and its options. Begin here.
"""
