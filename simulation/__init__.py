"""Simulates two days of token refreshes with the deployed planner and worker.

`make simulate` runs it. docs/simulation.md says what is modelled, and holds the results.
"""
