"""How fast Byline is, against stated baselines, in one run: `make bench`.

What is measured, how, and what it does not show: docs/benchmarks.md.
"""
