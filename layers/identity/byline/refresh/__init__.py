"""Rows of runners and tokens, work units, and when a token is due."""
