"""Credentials: secrets of other services that runs may use."""
