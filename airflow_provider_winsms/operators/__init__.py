"""Operators: send, send a batch, cancel."""
