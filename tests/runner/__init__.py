"""`python -m tests`: the tests of the project, in several processes, in a time that a newcomer can wait for.

* `marks`: what a test module says of its tests: `alone`, `exact`.
* `plan`: which tests are run, and how they are cut into units; a unit is what one process runs.
* `unit`: the program that runs one unit, and notes what becomes of each test in a file.
* `pool`: starts these programs, a few at a time, reads what they note, and ends those that hang.
* `report`: what is shown: how far it is, what failed, what was skipped, and unittest's own closing lines.
* `command`: the command line.

A process for each unit, because `syncws.testing.LeakChecks` looks at the threads and descriptors of its whole process,
and because a test that hangs or crashes then costs its own unit only. Of the runners that exist, unittest-parallel
waits for ever for a process that died, and knows no tests that must run alone; stestr and pytest-xdist bring formats
and fixtures of their own. What is needed here is less than what would have to be worked around there.
"""
