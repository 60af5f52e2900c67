"""Generates `docs/openapi.json` and `docs/reasons.md`.

    python -m tools.openapi

Routes, names, summaries and the shapes of requests come from `serve_runs`. Tests compare every
answer that they get with the document.
"""
