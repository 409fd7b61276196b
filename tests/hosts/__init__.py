"""The library inside real WSGI servers, each in a process of its own: what must hold on every one of them.

* `app`, `flask_app`, `django_app`: the application, without a framework and in two; `launch`: the program that becomes
  the server; `servers`: every set-up, and how it is started, watched and ended.
* `cases`: what each set-up is put through; `test_supported`: each of them.
* `test_refused`: servers that do not let a connection be taken over.
* `test_shutdown`: how connections end when the server does.
* `test_detached`: thousands of connections on a few threads, and servers that rest meanwhile.

SYNCWS_HEAVY=0 leaves out all but a few set-ups; `1` or `full` adds the thousands. A part that is not installed skips
its tests, in one line that says how to get it; SYNCWS_REQUIRE=all makes that a failure.
"""
