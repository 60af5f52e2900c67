"""Access decisions: principals, their roles, and the Cedar policies."""
