"""Computes the walls of a deployment from the rows that the code writes; writes docs/scale.md."""
