"""A module of tests that wants what is not installed, for the tests of the runner."""

import no_such_package  # type: ignore[import-not-found]  # noqa: F401
