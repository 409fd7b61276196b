"""Tests of the questions of `benchmarks/` that have a command of their own."""
