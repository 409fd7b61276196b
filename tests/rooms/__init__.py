"""Tests of `syncws/_rooms`: many connections."""
