"""Web plumbing without any subject of the API: request parsing, routing, problems, cursors."""
