"""Waits that share one poll: all of a kind, on one connection, on one event loop."""
