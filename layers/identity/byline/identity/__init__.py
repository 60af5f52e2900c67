"""Who sent a request, verified."""
