"""Public constants of a study: the reference gallery and the attacker's calibration."""
