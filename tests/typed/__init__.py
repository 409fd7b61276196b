"""Programs as users write them, which two type checkers read: `make lint` runs mypy and pyright over them.

`assert_type` says what a checker must find; a comment that ignores an error says that there must be one, since both
checkers report a comment that ignores nothing. `tests.test_typed` imports the programs, and runs some of them.
"""
