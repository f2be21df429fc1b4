"""Reports: what a ledger recorded, as plots and tables of a page."""
