"""The SAM templates: the root one, and the one of alarms and dashboard if it is another file."""

from functools import cache
from typing import Any

from local.template_yaml import read_template
from tests.docs.documents import ROOT

type Json = dict[str, Any]


@cache
def root() -> Json:
    """`template.yaml`, with every `!Ref` as `{"Ref": ...}`."""
    return read_template(ROOT / "template.yaml")


@cache
def alarms() -> dict[str, Json]:
    """The properties of every alarm, by logical id."""
    files = [
        ROOT / f"{name}.yaml" for name in ("template", "permissions", "observability", "console")
    ]
    found: dict[str, Json] = {}
    for path in files:
        if path.exists():
            resources = read_template(path)["Resources"]
            found |= {
                name: body["Properties"]
                for name, body in resources.items()
                if body["Type"] == "AWS::CloudWatch::Alarm"
            }
    assert found
    return found


def environments() -> dict[str, Json]:
    """The environment variables of each function, by the function's logical id."""
    shared = root().get("Globals", {}).get("Function", {}).get("Environment", {})
    return {
        name: shared.get("Variables", {})
        | body["Properties"].get("Environment", {}).get("Variables", {})
        for name, body in root()["Resources"].items()
        if body["Type"] == "AWS::Serverless::Function"
    }
