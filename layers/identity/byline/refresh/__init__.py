"""Runners' rows, work units, and when a token is due."""
