"""Receive: read the lists of incoming messages, filter them, tell subscribers. It does not know Airflow."""
