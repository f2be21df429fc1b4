"""Airflow glue: templates, parameters, errors, the task state store."""
