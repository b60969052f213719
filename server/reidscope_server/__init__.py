"""What the coordinator runs: studies out, noisy tables in, a report for the world. It can hold no image."""
