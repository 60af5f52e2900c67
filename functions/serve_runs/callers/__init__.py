"""Callers: who sends a request, and whether the service answers."""
