"""Tests of `syncws/_relay`: what processes say to each other."""
