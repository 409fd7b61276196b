"""HTTP/1.1, with which a WebSocket begins: request, response, handshake, URLs (RFC 9112, RFC 6455 section 4).

Floor 2: imports `_base`, `_frames`, `_net` and `errors`; for every folder above.

* `headers`: header lines, checked and looked up.
* `cookies`: the cookies of a request.
* `request`: `Request`, and `BadRequest` for one that cannot be served.
* `response`: `Response`, and the head of a 101.
* `head`: where the head of a request ends, and which heads are refused before h11 sees them.
* `http11`: one HTTP/1.1 connection of a server: a request and its response at a time.
* `hosts`: hosts in one form, and those a server answers to.
* `origins`: which pages may open a connection.
* `handshake`: what the opening handshake is in either role.
* `url`: ws: and wss: URLs, and those of proxies.
* `coding`: the content codings of a body, undone.
* `httpclient`: one request of a client, and its answer.
* `wsgiresponse`: what a WSGI view returns that has served a WebSocket, or refused one.
"""
