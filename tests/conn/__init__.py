"""Tests of `syncws/_conn`: an open connection."""
