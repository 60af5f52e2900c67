"""The verified caller of a request."""
