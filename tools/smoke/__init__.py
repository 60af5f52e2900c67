"""Checks of a deployed stack, for an operator after each deployment."""
