"""What sites and the coordinator say to each other, and nothing else."""
