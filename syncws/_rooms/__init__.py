"""Many connections: who is there, as whom, in which rooms; messages to one, to a room, to all.

Floor 4: imports the folders of floors 0 to 3. `_client` and `_wsgi` are on the same floor: none imports another.

* `heartbeat`: heartbeats that are messages, for clients that cannot ping.
* `member`: one connection in a manager: its states, and who calls its on_close.
* `arguments`: what callers hand in, checked.
* `stats`: what is counted, and the messages that were dropped.
* `registry`: ids, rooms, counts, and the steps of a member's life; it calls nobody back.
* `settler`: the thread that calls on_close of members which a send found lost.
* `recall`: what rooms remember: who comes back gets what it missed, and then what is live.
* `here`: the members of this process, as the relay to other processes asks for them.
* `everywhere`: the members of all processes, asked for.
* `manager`: `Manager`: callbacks, policies, sending; a member's life from end to end. Begin here.
"""
