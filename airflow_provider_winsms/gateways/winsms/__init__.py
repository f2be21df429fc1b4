"""WinSMS, South Africa, REST version 1."""
