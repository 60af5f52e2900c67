"""Web plumbing: requests, answers, problems, cursors. It knows no subject of the API."""
