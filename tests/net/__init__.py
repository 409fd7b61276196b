"""Tests of `syncws/_net`: sockets."""
