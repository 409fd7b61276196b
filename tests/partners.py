"""Programs and packages that a test needs and that may be missing; which tests are left out of a short run."""

from __future__ import annotations

import os
import unittest


def need(there: bool, missing: str) -> None:
    """Skip the test if a part is missing; fail it if SYNCWS_REQUIRE=all says that none may be missing."""
    if there:
        return
    if os.environ.get("SYNCWS_REQUIRE") == "all":
        raise AssertionError(missing)
    raise unittest.SkipTest(missing)


#: For tests that take long or drive a browser: SYNCWS_HEAVY=0 leaves them out.
heavy = unittest.skipIf(os.environ.get("SYNCWS_HEAVY") == "0", "left out by SYNCWS_HEAVY=0: `make test-all` runs it")
