"""The commands of ``airflow sms``, with which people resolve unknown outcomes."""
