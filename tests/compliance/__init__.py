"""The Autobahn|Testsuite, the field's judge of WebSocket, against both sides of the library.

    python -m tests.compliance              the selection that runs with every change, plain and TLS
    FULL=1 python -m tests.compliance       all 517 cases
    python -m tests.compliance --peer NAME  the same for another library: see `peers`

* `suite`: finds the suite, runs it, and judges its verdicts.
* `peers`: an echo server and an echo client of each library that is tested, in processes of their own.
* `test_suite`: tests of the judge. The run itself is no test: it is a group of its own in `.ci/run`.

The suite is the environment variable WSTEST, else `wstest` on the PATH, else the docker image. `.ci/run` installs it.
"""
