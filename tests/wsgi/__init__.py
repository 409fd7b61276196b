"""Tests of `syncws/_wsgi`: inside other WSGI servers."""
