"""Many connections: who is there, as whom, in which rooms; messages to one, to a room, to all.

Floor 4: imports the folders of floors 0 to 3. `_client` and `_wsgi` are on the same floor: none imports another.

* `heartbeat`: heartbeats that are messages, for clients that cannot ping.
* `manager`: `Manager` and `Member`. Begin here.
"""
