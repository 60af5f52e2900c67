"""Declarative changes: documents of role bindings, agents, service accounts, credentials, runners.

Imported by `byline apply` and `byline export` alone.
"""
