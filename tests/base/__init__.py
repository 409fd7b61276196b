"""Tests of `syncws/_base`."""
