"""Tests of `syncws/_client`: dialing."""
