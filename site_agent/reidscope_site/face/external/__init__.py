"""Defacers of others, as command lines: descriptions, and how they are run and disbelieved."""
