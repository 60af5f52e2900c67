"""The organisation's authorization service, and the outbox of runs to register."""
