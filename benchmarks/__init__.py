"""The benchmark: Byline's speed against baselines of the same run, by `make bench`.

docs/benchmarks.md says what is measured, how, and what the results do not show.
"""
