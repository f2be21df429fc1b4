"""Operators: send, send a batch, cancel, refresh states, create views."""
