"""Pyramid and our glue for it, imported without a word about what Pyramid imports: pkg_resources, and cgi."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyramid.config

    import syncws.pyramid  # noqa: F401 - it is an attribute of syncws from here on

__all__ = ["pyramid"]
