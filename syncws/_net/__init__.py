"""Sockets: one that is connected, those that listen, those that connect, and the thread for what nobody waits for.

Floor 1: imports `_base` and `errors`; for every folder above, not for `_frames`, which is on the same floor.

* `transport`: a connected socket: reading and writing with deadlines, what a full socket did not take, TLS.
* `drain`: the one thread of the process: it sends what a full socket did not take, and ends closes in time.
* `listener`: sockets that listen, the file of a Unix socket, what an error of accept() means.
* `connector`: from a name to a connected socket, in time, and stopped from any thread.
"""
