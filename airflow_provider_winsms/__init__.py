"""SMS steps for Airflow: safe sending, waiting for delivery and exact history, through WinSMS."""

__version__ = "0.1.0"
