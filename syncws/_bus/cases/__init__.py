"""The tests that every backplane has to pass: `BackplaneCases` of `syncws.testing` is all of them together.

Floor 1: part of `_bus`, whose `backplane`, `history` and `recorder` it imports. Only `syncws.testing` imports it, as it
needs `unittest`.

* `fixture`: what whoever inherits the cases writes, and what all cases use. Begin here.
* `delivery`: order, subscriptions, names of channels, bytes.
* `breaks`: what is told when the bus is lost, and that nobody waits meanwhile.
* `lives`: start, close, start again, and the child of a fork.
* `outlets`: the way out of programs that only publish.
* `archives`: history, where the bus keeps it.
"""
