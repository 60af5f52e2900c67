"""RegisterResourcesFunction: registers runs in the organisation's authorization service."""
