"""The gateways: what each can do, and how it says it on the wire. Nothing here knows of Airflow."""
