"""Operators that load what a gateway lists into databases."""
