"""BIDS datasets in and out: names, sidecars, tables and NIfTI headers by an allow-list."""
