"""The command line: `syncws`, or `python -m syncws`.

Floor 6: imports the folders of floors 0 to 5.

* `command`: what the commands have in common.
* `dialing`: the options of the commands that are clients.
* `connect`: a client for the terminal and for pipes.
* `publish`: messages to the members of all processes, from a shell.
* `reloading`: a server that begins anew when a file changes.
* `serve`: a WSGI application, with its WebSocket views, on our server.
* `bench`: a load for a server, and how fast it answers.
* `doctor`: what is wrong, and what to change.
* `main`: which command is asked for. Begin here.
"""
