"""Tests of `syncws/_frames`: WebSocket without I/O."""
