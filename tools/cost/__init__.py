"""The monthly cost of a stack, computed from the templates, list prices and stated assumptions."""
