"""The caller of a request, and the health check."""
