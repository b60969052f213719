"""What the coordinator runs: studies out, noisy tables in, a report. It can hold no image."""
