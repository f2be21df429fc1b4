"""The commands of ``airflow sms``, with which people check texts and resolve unknown outcomes."""
