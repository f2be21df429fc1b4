"""Pages inside Airflow."""
