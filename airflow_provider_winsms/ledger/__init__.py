"""The memory of what was sent: written before a request leaves."""
