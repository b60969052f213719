"""The experiments: each puts ONE person into one cell, given public constants."""
