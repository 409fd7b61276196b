"""Tests of `fuzz`: that it finds what it is to find, and that nothing is left of what it found."""
