"""Load lists into tables, and create views over them. It does not know Airflow."""
