"""The command line: `python -m syncws`.

Floor 6: imports the folders of floors 0 to 5.

* `serve`: a WSGI application, with its WebSocket views, on our server.
"""
