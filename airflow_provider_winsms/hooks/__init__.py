"""Hooks: an Airflow connection turned into a gateway that can be called."""
