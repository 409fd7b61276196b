"""What the tests do not notice: a program that changes single statements, and runs the tests against each change.

    python -m tests.mutants                        every mutant of _frames, _net, _conn and _rooms
    python -m tests.mutants _conn.wire _net        those of a module, or of a folder
    python -m tests.mutants _conn.wire --only 120  those of one line
    python -m tests.mutants _conn --list           their names, and nothing is run
    python -m tests.mutants --sample 50 --seed 7   some of them

A mutant that no test notices is killed by a new test, or is put into `survivors.toml` with its reason. The exit code is
1 while there is another one, or while that file names a mutant that does not exist any more.

* `changes`: what is changed, and what is left alone since it cannot matter
* `guards`: which tests guard which module
* `child`: a process that runs tests and says how far it is
* `trial`: which test runs which lines, and what becomes of each mutant
* `survivors`: the list of those that may live

The checkout is never written to: each mutant lives in a copy of the tree, and its tests run in a process of their own.
What became of a mutant is kept in `.mutants/`, and holds until the module or the tests that decided it change; so a run
that was interrupted goes on where it was. Needs a system with fork.
"""
