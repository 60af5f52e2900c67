"""Token requests to an issuer, and how its answers are read."""
