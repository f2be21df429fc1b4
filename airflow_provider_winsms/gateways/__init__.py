"""The gateways: the operations of each, and the transport. Nothing here knows Airflow."""
