"""WebSocket without I/O (RFC 6455 section 5, RFC 7692): bytes to messages, messages to bytes. No socket, no thread.

Floor 1: imports `_base` and `errors`; for every folder above, not for `_net`, which is on the same floor.

* `masking`: a payload with a mask applied or removed.
* `frame`: the bits of a frame's header, and a frame written.
* `window`: what the messages of a peer that keeps its context may refer back to, in use and at rest.
* `deflate`: permessage-deflate: deflating, inflating within a limit.
* `compressor`: what this side keeps from message to message, where it keeps its context.
* `agreement`: permessage-deflate: what is offered, and what was agreed on.
* `accelerator`: whether what a message costs most is done in C (`fast.c`), or by its twin in Python.
* `payloads`: what a caller may put into a message or a close, and what its mistakes raise.
* `partial`: a data frame that arrives in parts.
* `compressed`: a compressed message that arrives in fragments or in parts.
* `ahead`: what has come while nobody reads: control frames are taken out, messages wait for the reader.
* `plain`: a message in fragments that is not compressed, through wsproto.
* `runs`: fragments that have come together, joined to one.
* `verdicts`: what a peer has done wrong, in words.
* `lanes`: the way of each frame: where the stream stands, headers, limits of a message.
* `protocol`: where a frame begins and ends, and which message it makes. Begin here.
* `prepared`: a message that is encoded once for many connections.
* `streams`: a message as a stream, for reading and for writing.
* `keepalive`: when a silent peer is pinged, and when it is given up.
* `allowance`: so many control frames at once, and so many a second.
"""
