"""DynamoDB plumbing: items, reads of many rows, conditional writes. It knows no subject."""
