"""Wait for delivery: track, poll, refresh. It does not know Airflow."""
