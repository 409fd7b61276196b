"""Models: machines that drive the real thing through random courses, beside a specification in plain Python.

A machine of Hypothesis (`RuleBasedStateMachine`) draws one step after the other. Each step does something to real
connections, or real managers, and to a model of them, which is written from the documentation and not from the code.
After every step the two are compared: states, exceptions, bytes, counts, threads, descriptors.

* `sight`: what frames are on a wire: a parser of its own, which inflates too.
* `wire`: the wire between two connections, which carries what it is told to: a part, nothing, an end, a reset, lies.
* `side`: the specification of one side of a connection.
* `talk`: the machine of a connection: two of them, and the wire between.
* `cluster`: the machine of a Manager in three processes, and a bus that drops, repeats, delays, dies and comes back.
* `course`: how many courses, and which: the same ones each time, or others; and whether what is broken is found.

    SYNCWS_EXAMPLES=20000 .venv/bin/python -m unittest tests.models.test_talk    # other courses each time, and so many
"""
