"""`syncws bench`: a load for a WebSocket server, and what it says of it. docs/bench.md says what the figures mean.

Floor 6: part of `_cli`.

* `recorder`: durations, counted, and their percentiles.
* `plan`: what the load is to be, and the messages it sends.
* `tally`: what was counted.
* `opening`: connections are opened.
* `peer`: one connection.
* `generator`: the load of one process. Begin here.
* `crew`: several processes, and the one that leads them.
* `progress`: the line on a terminal.
* `report`: the result, for people and for programs.
* `options`: the command line.
"""
