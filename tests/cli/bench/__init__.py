"""Tests of `syncws/_cli/bench`: the load."""
