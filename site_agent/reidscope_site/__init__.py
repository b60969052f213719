"""What a hospital runs: the attack where the data is, and the one noisy table that leaves."""
