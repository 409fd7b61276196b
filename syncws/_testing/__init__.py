"""Tools for tests of programs that use syncws, which `syncws.testing` shows to users.

Floor 6: imports the folders of floors 0 to 5, except `_rooms` and `_relay`.

* `waiting`: waiting for what no event tells.
* `frames`: `Peer`, the raw other end of a connection.
* `pairs`: two connections, or a connection and a `Peer`, over a socketpair.
* `scripted`: a socket that follows a script.
* `leaks`: what a test leaves behind.
* `browsers`: the cookies of a framework's own test client.
* `views`: a client of a WSGI application, without a server or a port.
* `serving`: servers for the length of a block, and their clients.
* `workbench`: what the fixtures for pytest do. The fixtures themselves stand in `pytest_syncws.py`, beside the
  package: pytest imports it in each of its runs, and must not import syncws for those that do not use it.
"""
