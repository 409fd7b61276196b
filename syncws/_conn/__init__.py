"""An open WebSocket connection: reading, writing, its end. `syncws.Conn` and the parts it is made of.

Floor 3: imports the folders of floors 0 to 2; for every folder above.

* `subject`: what lines of the log say a connection is.
* `states`: where a connection stands, from open to released, and what its reads and writes raise: a table.
* `queue`: the send queue: what waits for a slow peer, and what happens when it is full.
* `stats`: what is counted, as it is handed out.
* `tally`: what is counted of one connection.
* `batch`: messages that have come together, and which answers may wait for one another.
* `courier`: the thread that sees to it that no answer waits for longer than a millisecond.
* `wire`: who may write, in which order frames leave, and what waits. The six rules stand at its top.
* `contexts`: what is kept from message to message of what they are compressed with, let go after a silence.
* `callbacks`: the thread that tells an application of ends.
* `ending`: the end is stored, the socket is cut, the file descriptor is closed, and by whom.
* `turnstile`: where readers rest whose peers send frames that make no message.
* `controls`: control frames: how many a peer may send, and what is answered. Pings are answered here.
* `intake`: bytes as they come: how many are asked for, what silence means, and the end of the stream.
* `pace`: a message that has begun must go on, with so many bytes a second.
* `holding`: what a connection holds of a message that is not whole.
* `inbound`: one reader; its deadlines, its handlers. One message is read in a straight line here.
* `attendant`: what a reader does except reading messages, while the handler is busy elsewhere.
* `closing`: the closing handshake.
* `outbound`: whole messages, prepared ones, streamed ones.
* `access`: the access log: a line for each WebSocket of a server, and for each HTTP request.
* `wiretrace`: frames and heads in the log, for who asks for them.
* `conn`: `Conn`: what a program calls, and how the closing handshake goes. Begin here.
* `ledger`: the sums of what the connections of a server count.
* `outcome`: what it means how a handler leaves its connection.
* `farewell`: the end of many connections at once: tell, wait, cut, count.
"""
