"""What processes say to each other over a bus: envelopes with numbers, so that every loss is known; questions, nodes.

Floor 2: imports `_base`, `errors`, `_bus` and `_frames`. It knows no connection: what is here, it asks of a `Here`.

* `names`: rooms and ids as text, and the channels that they have on a bus.
* `envelope`: the bytes of one message between processes.
"""
