"""Stand-ins for AWS and the authorization service, for tests, benchmarks and the simulation."""
