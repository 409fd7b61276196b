"""Benchmarks: small programs that ask one question each, and `python -m benchmarks`, which asks all of them.

Questions, one in each file: `echo`, `text`, `deflate`, `tls`, `connect`, `fan`, `flask_sock`, `memory`. Each has SIDES,
`add_options(parser)` and `compare(options)`, and its docstring begins with the question.

One more has a page of its own: `cluster`, what a message between processes costs. `cluster_node` is a process that it
measures, `sink` the other ends of its members, `arithmetic` what follows for more nodes than a machine has.

So has `takeover`: what context takeover gives and costs, beside `websockets` and Node's `ws`. `takeover_servers` and
`node/` are what it measures, `feed` makes the messages.

And one asks whether anything is ever lost: `soak`, a folder with a page of its own.

* `servers`, `rooms`: what is compared, each in a process of its own; `serving` is common to them, `gorilla` builds the
  program of `go/`.
* `table`: how fast this library is beside gorilla and beside what it was, load by load, and what each lever gives.
* `resources`: what a connection, a member, a room, a queued message and a message cost, by Python; `resource_probe`
  weighs one of them, and `resource_clients` is the other end.
* `pin`: what a server loses where it may use every core, and what `pin=` gives back; `pin_server` is what it measures.
* `against`: whether any load costs more than in another checkout.
* `way`: where a message's time goes; `way_steps`: its steps in one thread, timed in a process of its own.
* `ours`: this library in several ways, each a side of its own: another checkout, without the accelerator, without the
  GIL.
* `load`: a load generator in a process of its own; `load_echo`, `load_visits`, `load_room`: what it does there;
  `client`: handshakes and frames; `job`: task and result.
* `turns`: the sides in turn; `loads`: the loads of the echo servers; `cores`: who runs on which; `processes`: how
  servers are started and ended.
* `run`: options and progress; `report`: tables; `plot`: the picture; `machine`: where it was; `page`: the files
  that are written.
"""
