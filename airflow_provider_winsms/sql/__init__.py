"""A database behind any ``DbApiHook``: its connection, its dialect and its bulk path."""
