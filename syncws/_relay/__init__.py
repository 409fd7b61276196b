"""What processes say to each other over a bus: envelopes with numbers, so that every loss is known; questions, nodes.

Floor 2: imports `_base`, `errors`, `_bus` and `_frames`. It knows no connection: what is here, it asks of a `Here`.

* `names`: rooms and ids as text, and the channels that they have on a bus.
* `envelope`: the bytes of one message between processes.
* `stamp`: the position of a message, put into it.
* `kept`: a broadcast to a room that remembers, as it was kept.
* `numbers`: the numbers by which every loss is known.
* `interests`: the channels that this process listens to.
* `gaps`: losses, and who is told of them.
* `here`: what a relay asks of the Manager that it belongs to.
* `nodes`: the other processes, and who of them is alive.
* `health`: how the bus is.
* `outward`: the way out.
* `questions`: what is asked of the others, and how long anybody waits for it.
* `claims`: ids that may have one connection, over all processes.
* `surveys`: what can be asked, and what is answered.
* `inward`: the way in.
* `pulse`: the thread for what time asks for.
* `relay`: `Relay`, which has all of these. Begin here.
* `headcount`: how many connections there are, for who has none.
* `address`: where a bus is, as one text.
* `publisher`: `Publisher`, the way out for programs that have no Manager.
"""
