"""Programs that have many threads do everything at once, and count exactly what comes of it.

    python -m tests.stress                          every program, for ten seconds each
    python -m tests.stress --seconds 60 writers     one of them
    python -m tests.stress --broken                 against broken copies, each of which has to be seen
    python -m tests.stress --list                   what they do, and what is broken

Each runs in a process of its own, where threads take turns every 5 microseconds. A line says what it has counted. The
exit code is 1 if a count is wrong, if a thread, a descriptor or an object is left, or if the interpreter crashes. They
are made for a Python without the GIL, and run on the others too; SYNCWS_ACCELERATED=0 is without the accelerator.

* `ends`, `writers`, `together`, `silence`, `closes`, `descriptors`, `readers`, `prepared`, `slow`, `timers`,
  `attendants`, `tls`, `masks`: one connection, and what connections share
* `members`, `rooms`, `fanout`, `histories`, `buses`, `publishers`: Managers
* `shutdowns`, `snapshots`, `addresses`, `guests`, `reconnects`: servers, and who comes back to them

A program is a module with `run`, which goes on in rounds, and `BREAKS`: what makes a broken copy that it must see.

* `trial`: rounds, threads, counts
* `messages`: messages whose every byte and order is checked
* `peers`: connections with a raw other end
* `breaks`: locks that keep nobody out, methods that do something else
* `leaks`: what is left in the end
* `programs`: the list of them
* `child`: the process of one
* `command`: the command line
"""
