"""Work units: reading a batch of messages, leases, time slices, and one refresh of a unit."""
