"""Tests of what is known of each WSGI server."""
