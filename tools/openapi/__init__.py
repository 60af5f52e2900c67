"""Makes `docs/openapi.json`.

    python -m tools.openapi

The routes, their names and what is said of them are `serve_runs`' own; so are the shapes of
requests. Tests hold the document to every answer that they get.
"""
