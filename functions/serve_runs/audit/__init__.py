"""The audit trail: a record of each change and of each token that was read."""
