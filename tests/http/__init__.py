"""Tests of `syncws/_http`: HTTP/1.1, the handshake, URLs."""
