"""The client: from a URL to a connection, through a proxy if need be, once or again and again.

Floor 4: imports the folders of floors 0 to 3. `_rooms` and `_wsgi` are on the same floor: none imports another.

* `environment`: which proxy the environment names for a URL.
* `proxy`: a tunnel through a proxy.
* `cookies`: the cookies of a handshake, kept in a jar.
* `hops`: what the sockets and the TLS on the way must be.
* `redirects`: where a redirect leads, and what goes there.
* `answer`: what the server's answer must say.
* `dialer`: `Dialer` and `dial`. Begin here.
* `backoff`: how long to wait before the next attempt.
* `healing`: which failures may heal by themselves.
* `outage`: what the log says of attempts that fail.
* `reconnector`: `Reconnector` and `reconnect`: a fresh connection whenever the last one is over.
"""
