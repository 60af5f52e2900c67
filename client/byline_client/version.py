"""The version of the client, which is that of the repository."""

VERSION = "0.1.0"
"""Releases of client and service have one number. A test compares them."""
