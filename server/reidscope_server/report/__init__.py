"""The report: built from releases alone, written as JSON, CSV and one page, and verified."""
