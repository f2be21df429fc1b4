"""What the ``airflow`` command line gets from this package: a way out for people."""
