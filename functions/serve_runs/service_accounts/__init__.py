"""Service accounts: applications that act for a person."""
