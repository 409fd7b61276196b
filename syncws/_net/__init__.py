"""Sockets: one that is connected, those that listen, those that connect, and the thread for what nobody waits for.

Floor 1: imports `_base` and `errors`; for every folder above, not for `_frames`, which is on the same floor.

* `transport`: a connected socket: reading and writing with deadlines, what a full socket did not take. Begin here.
* `accepted`: what a socket has from its listener, and need not be told.
* `tls`: the same over TLS, also through the TLS of a proxy.
* `strangers`: what else may speak on a port, told by its first bytes.
* `waits`: a wait for a socket, and how a write that waits is judged.
* `tcpinfo`: how many bytes the kernel has counted on a connection.
* `address`: the address of a socket, and how a log line says it.
* `drain`: the one thread of the process: it sends what a full socket did not take, and ends closes in time.
* `heap`: what connections have freed is given back to the system.
* `descriptors`: how many this process may open, and those that are kept for the application.
* `attendance`: the second duty of that thread: it looks after connections that nobody reads just now.
* `listener`: sockets that listen, the file of a Unix socket, what an error of accept() means.
* `inherited`: sockets that listen already, from systemd.
* `notice`: what a supervisor is told of this process.
* `attempt`: one dial under way: its time limit, and how another thread stops it.
* `connector`: from a name to a connected socket, in time, and stopped from any thread.
"""
