"""An open WebSocket connection: reading, writing, its end. `syncws.Conn` and what is behind it.

Floor 3: imports the folders of floors 0 to 2; for every folder above.

* `wire`: who may write, in which order frames leave, and what waits. The six rules stand at its top.
* `ending`: how a connection ends: the stored end, the cut, who closes the file descriptor.
* `inbound`: one reader; control frames, keepalive, deadlines.
* `outbound`: whole messages, prepared ones, streamed ones.
* `conn`: `Conn`: what a program calls, and how the closing handshake goes. Begin here.
* `outcome`: what it means how a handler leaves its connection.
* `farewell`: the end of many connections at once: tell, wait, cut, count.
"""
