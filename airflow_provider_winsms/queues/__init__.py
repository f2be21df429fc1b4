"""Incoming SMS as a message queue."""
