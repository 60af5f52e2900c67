"""Role bindings: the roles of principals in a project."""
