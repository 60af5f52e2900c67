"""Runners: registration, and their tokens."""
