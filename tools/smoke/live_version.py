"""The version that serves requests has the configuration that the parameters ask for."""

from collections.abc import Iterator, Mapping
from typing import Any

from tools.smoke.surroundings import Surroundings
from tools.smoke.verdicts import Cleanup, Failed

FUNCTION = "RunsFunction"


def check(surroundings: Surroundings, _: Cleanup) -> str:
    """Compare the alias `live` with what the deployed template makes of the parameters."""
    stack = surroundings.stack
    name, version = _version_resource(stack.template)
    number = stack.resources[name].rpartition(":")[2]
    function, alias_name = stack.outputs["RunsFunctionAlias"].rsplit(":", 1)
    alias = stack.client("lambda").get_alias(FunctionName=function, Name=alias_name)
    if shares := alias.get("RoutingConfig", {}).get("AdditionalVersionWeights"):
        raise Failed(f"version {number} alone", f"also {', '.join(shares)}")
    if alias["FunctionVersion"] != number:
        raise Failed(f"alias `live` at version {number}", f"version {alias['FunctionVersion']}")
    asked = stack.resolver.value(
        {**stack.template["Resources"][FUNCTION]["Properties"], **version}
        | {"Role": None, "Code": None}  # an attribute of the role; the address of an artifact
    )
    if wrong := list(differences(asked, stack.live)):
        raise Failed(*(" and ".join(each) for each in zip(*wrong[:3], strict=True)))
    return f"version {number}, {stack.live['Description']}"


def differences(asked: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each setting that differs: as it was asked for, and as it is."""
    for name in ("Description", "Timeout", "MemorySize", "Architectures", "Handler"):
        yield from _difference(name, str(asked[name]), str(live.get(name)))
    yield from _difference("Tracing", asked["TracingConfig"]["Mode"], live["TracingConfig"]["Mode"])
    layers = [layer["Arn"] for layer in live.get("Layers", [])]
    yield from _difference("Layers", str(asked["Layers"]), str(layers))
    snap_start = asked["SnapStart"]["ApplyOn"]
    yield from _difference("SnapStart", snap_start, live["SnapStart"]["ApplyOn"])
    if snap_start == "PublishedVersions":
        yield from _difference("snapshot", "On", live["SnapStart"]["OptimizationStatus"])
    wanted = asked["Environment"]["Variables"]
    found = live.get("Environment", {}).get("Variables", {})
    for name in sorted(wanted.keys() | found.keys()):
        yield from _difference(name, str(wanted.get(name)), str(found.get(name)))


def _difference(name: str, asked: str, live: str) -> Iterator[tuple[str, str]]:
    if asked != live:
        yield f"{name}={asked}", f"{name}={live}"


def _version_resource(template: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The published version: its logical id, and its properties that a function has too."""
    [(name, body)] = [
        (name, body)
        for name, body in template["Resources"].items()
        if body["Type"] == "AWS::Lambda::Version"
        and body["Properties"]["FunctionName"] == {"Ref": FUNCTION}
    ]
    return name, {"Description": body["Properties"]["Description"]}
