"""Tests of `syncws/_server`: the server."""
