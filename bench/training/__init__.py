"""Training runs of the strategies, compared with each other."""
