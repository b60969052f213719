"""Defacers, one a module: each has a `NAME` and `apply(volume, registration) -> Volume`."""
