"""Reads and writes of DynamoDB for all functions: items, pages, many rows, conditional writes."""
