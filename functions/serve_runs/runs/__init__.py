"""Runs: creation, listing and changes of state."""
