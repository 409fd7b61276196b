"""Tests of `syncws/_testing` and `syncws/testing`: tools for tests of programs that use syncws."""
