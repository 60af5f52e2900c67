"""The page of reasons, `docs/reasons.md`, from the one table of them."""

from serve_runs.web.reasons import REASONS

_HEAD = """# Reasons

Every problem answer (`application/problem+json`, RFC 9457) has a `reason` from this closed list.
Clients may match on it; the sentence in `detail` may change. For refused credentials (401) it is
also a dimension of the metric `Rejected`.

This page is written by `make openapi`.

| reason | status | `detail`, unless it names a fact of the request | meaning |
| --- | --- | --- | --- |
"""


def text() -> str:
    """The page as it is committed: one row for each reason, by status."""
    rows = sorted(REASONS.items(), key=lambda item: item[1].status)
    return _HEAD + "".join(
        f"| `{reason}` | {entry.status} | {entry.sentence} | {entry.meaning} |\n"
        for reason, entry in rows
    )
