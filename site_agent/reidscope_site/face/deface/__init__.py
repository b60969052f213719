"""Defacers, one a module: each has an `INTENT`, and a `NAME` and `apply(volume, registration)`.

A module of several arms has a tuple `ARMS` of (name, apply) instead of the latter two.
"""
