"""Tests of `syncws/_bus/cases`: what a backplane has to pass, and that a wrong one does not."""
