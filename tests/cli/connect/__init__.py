"""Tests of `syncws/_cli/connect`: the client for the terminal and for pipes."""
