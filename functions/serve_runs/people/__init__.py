"""People and applications across all projects: what they have, and ending it."""
