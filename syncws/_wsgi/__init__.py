"""A WebSocket inside somebody else's WSGI server: finding its socket, taking it away, serving it, ending it.

Floor 4: imports the folders of floors 0 to 3. `_client` and `_rooms` are on the same floor: none imports another.

* `taken`: what a server's taker tells of a request's connection.
* `inside`: looking inside a server, through its streams and up its calls.
* `servers`: a file for each WSGI server that is known: where it keeps the socket, and what is special about it.
* `takers`: which server a request came by, and the takers that an application has added.
* `foreign`: transports over connections that a server accepted, with a drawing of who holds which descriptor.
* `borrow`: a server's own socket, used as it is while the view lasts.
* `detach`: a connection that leaves its server.
* `detach_tls`: the same, together with the TLS that the server began.
* `stats`: what is counted of them, as it is handed out.
* `guests`: the connections of this process inside other servers: how many there may be, and their end.
* `exchange`: the connection of a request while its server holds it, and how it is taken over.
* `environ`: from an environ to a request.
* `conversation`: the 101, the handler, the close.
* `view`: one WebSocket view: who runs its handler, and what it returns. Begin here.
"""
