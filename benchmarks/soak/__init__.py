"""Hours of chaos in which every message is accounted for: `python -m benchmarks.soak`.

Real servers, as they are deployed, have clients that chat, flood, stall, vanish, come back, do nothing and break the
protocol, while what they stand on is killed, stopped and replaced. At the end of each round every message was received
once by everybody to whom it was due, or is missing for a reason that somebody has told.

* `ledger`: the rules by which a message may be missing, and the books that are kept of each site. Begin here.
* `soak`: a run, round after round; `__main__`: its options.
* `sites`: the servers, how they are started, replaced and ended; `store`: Redis with a replica and a sentinel.
* `node`: what runs in a server process, `hosted`: the same inside gunicorn; `journal`: what it tells of itself.
* `crowd`: the clients of a site; `hostile`: those that break the protocol; `victim`: one that is killed.
* `faults`: what goes wrong, when, and where.
* `catalogue`: the lines that may be logged.
* `watch`: memory, descriptors, threads and latency; `picture`: the drawing of them.
"""
