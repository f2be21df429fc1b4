"""Send: compose, plan, submit, reconcile, cancel. It does not know Airflow."""
