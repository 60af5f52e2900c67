"""Two simulated days of refreshing runners' tokens, by the real planner and the real worker.

`make simulate` runs it; what is modelled, and what came out: docs/simulation.md.
"""
