"""A connection does what the documentation says, in every course that the machine of `talk` thinks of."""

from __future__ import annotations

from syncws.testing import LeakChecks

from .course import count, go, leave_no_folder
from .talk import Talk


def setUpModule() -> None:
    leave_no_folder()


class TalkTests(LeakChecks):
    """Two connections and the wire between them, beside their specification."""

    def test_a_connection_is_what_its_model_says(self) -> None:
        """States, ends, exceptions, frames, counts, threads and descriptors are as the model says after each step."""
        go(Talk, count(25, 80))
