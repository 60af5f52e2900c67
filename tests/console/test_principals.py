"""The console's modules tell principals apart, run by Node.js without a page."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from serve_console.files import PAGES
from serve_console.scripts import joined
from tests.required import skip_or_fail

ADA = {"kind": "user", "issuer": "https://one.example", "subject": "ada", "name": "Ada"}
OTHERS = [
    pytest.param(ADA | {"issuer": "https://two.example", "name": "Other"}, id="issuer"),
    pytest.param(ADA | {"kind": "application", "name": "Robot"}, id="kind"),
    pytest.param(ADA | {"subject": "grace", "name": "Grace"}, id="subject"),
]


def evaluate(call: str, *values: object) -> Any:
    """The result of a call of a function that timeline.js or a module below it exports."""
    if not (node := shutil.which("node")):
        skip_or_fail("node", "Node.js is not installed")
    texts = ", ".join(map(json.dumps, values))
    module, _, name = call.rpartition(".")
    script = joined(PAGES, "timeline.js")
    script += f"console.log(JSON.stringify($modules['{module}.js'].{name}({texts})));"
    done = subprocess.run([node, "-"], input=script, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def authors(*messages: tuple[dict[str, str], dict[str, str] | None]) -> list[tuple[str, str]]:
    """The acts of the timeline for messages in this order: what, and by whom."""
    written = [
        {
            "created_at": f"2026-11-27T00:00:0{second}Z",
            "who": {"author": author, "on_behalf_of": person},
        }
        for second, (author, person) in enumerate(messages, 1)
    ]
    run = {"who": {"executed_by": ADA}, "created_at": "2026-11-27T00:00:00Z"}
    acts = evaluate("timeline.actsOf", run, [], written)
    return [(act["verb"], act["who"]["name"]) for act in acts if "message" in act["verb"]]


@pytest.mark.parametrize("other", OTHERS)
def test_messages_of_two_principals_are_two_acts(other: dict[str, str]) -> None:
    """One subject of two issuers, or of a person and an application, is two authors."""
    expected = [("1 message", ADA["name"]), ("1 message", other["name"])]
    assert authors((ADA, None), (other, None)) == expected
    assert authors((ADA, None), (dict(ADA), None)) == [("2 messages", ADA["name"])]


def test_messages_for_two_people_are_two_acts() -> None:
    """The act names for whom the author wrote."""
    robot, grace = ADA | {"kind": "application"}, ADA | {"subject": "grace"}
    assert len(authors((robot, ADA), (robot, grace))) == 2
    assert len(authors((robot, ADA), (robot, ADA))) == 1


@pytest.mark.parametrize("other", OTHERS)
def test_person_behind_another_principal_is_named(other: dict[str, str]) -> None:
    """*for Ada* is shown unless the actor is this very person."""
    assert '"for"' in json.dumps(evaluate("parts.Person", {"who": other, "behalf": ADA}))
    assert '"for"' not in json.dumps(evaluate("parts.Person", {"who": ADA, "behalf": ADA}))
