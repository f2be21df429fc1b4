"""Sensors: wait for delivery."""
