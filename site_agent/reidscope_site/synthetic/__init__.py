"""People that never were: for demonstrations, tests and public reference faces."""
