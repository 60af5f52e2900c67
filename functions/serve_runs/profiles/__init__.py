"""Profiles: the display names and e-mail addresses of callers."""
