"""Tests of `syncws/_cli`: the command line."""
