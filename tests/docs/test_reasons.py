"""The page of reasons is the closed list that the API answers with."""

import json
from typing import Any

from tests.docs.documents import ROOT, names, section, table
from tests.docs.facts import PROBLEM_REASONS, REFUSED_CREDENTIAL_REASONS

ROWS = table(section("docs/reasons.md", "# Reasons"), "reason")
STATUS = {name: int(row["status"]) for row in ROWS for name in names(row["reason"])}


def _answers() -> set[tuple[int, str]]:
    """Every pair of a status and a reason in `docs/openapi.json`."""
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    shared = document["components"]["responses"]
    found = set()
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                resolved = shared[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
                body = resolved.get("content", {}).get("application/problem+json", {})
                found |= {(int(status), reason) for reason in _enum(body)}
    return found


def _enum(body: Any) -> list[str]:
    for part in body.get("schema", {}).get("allOf", []):
        if "reason" in part.get("properties", {}):
            reason = part["properties"]["reason"]
            return list(reason.get("enum", [reason.get("const")]))
    return []


def test_table_lists_every_reason_once_and_no_other() -> None:
    """A client that gets a reason finds what it means."""
    listed = [name for row in ROWS for name in names(row["reason"])]
    assert sorted(listed) == sorted(PROBLEM_REASONS)
    assert all(row["meaning"] for row in ROWS)


def test_reason_of_a_refused_credential_has_status_401() -> None:
    """The reasons that refuse a credential are those with status 401, and no other."""
    assert {name for name, status in STATUS.items() if status == 401} == REFUSED_CREDENTIAL_REASONS


def test_status_of_a_reason_is_the_one_that_the_api_document_has() -> None:
    """The table and the OpenAPI document agree on the status of each reason."""
    answers = _answers()
    assert len(answers) > len(STATUS) / 2
    assert [(status, name) for status, name in answers if STATUS[name] != status] == []
