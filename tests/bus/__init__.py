"""Tests of `syncws/_bus`: what joins processes."""
