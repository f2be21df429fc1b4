"""Send SMS, wait for delivery, and load replies and opt-outs, through WinSMS."""

__version__ = "0.1.0"
