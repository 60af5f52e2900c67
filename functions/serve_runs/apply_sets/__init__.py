"""Apply sets: what a client's declarative apply made, so that it deletes nothing else."""
