"""The ledger of all sends. A request is recorded in it before it leaves."""
