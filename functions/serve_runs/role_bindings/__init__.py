"""Role bindings: who has which role in a project."""
