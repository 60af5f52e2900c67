"""Messages of a run."""
