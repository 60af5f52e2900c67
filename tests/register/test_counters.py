"""The counters of the authorization service's calls, as CloudWatch receives them."""

import json
from typing import Any, get_args

import pytest

from byline.errors import Misconfigured
from byline.metrics import Metrics
from byline.registration.answers import ErrorClass
from byline.registration.counters import EXCEPTION_CLASSES, count_in
from byline.registration.settings import RegistrationSettings

AGENTEX = "task_fgac_dual_write."


def emitted(capsys: pytest.CaptureFixture[str], *, names: str) -> list[dict[str, Any]]:
    """The documents of four calls: each has its metrics, dimensions and values."""
    metrics = Metrics("byline")
    count = count_in(metrics, names=names)
    count("attempt", "register", None)
    count("success", "register", None)
    count("retry", "deregister", "bad_gateway")
    count("failure", "grant", "forbidden")
    capsys.readouterr()
    metrics.flush()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_agentexs_counters_have_its_names_and_tags(capsys: pytest.CaptureFixture[str]) -> None:
    """Each event has the tag `op`, and a retry or a failure also `exception_class`."""
    found = []
    for document in emitted(capsys, names="agentex"):
        [directive] = document["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]:
            name = metric["Name"]
            if name.startswith(AGENTEX) and "op" in directive["Dimensions"][0]:
                found.append((name, document["op"], document.get("exception_class")))
                assert document[name] in (1, [1])
    assert sorted(found, key=str) == [
        (f"{AGENTEX}attempt", "register", None),
        (f"{AGENTEX}failure", "grant", "AuthorizationError"),
        (f"{AGENTEX}retry", "deregister", "AuthenticationGatewayError"),
        (f"{AGENTEX}success", "register", None),
    ]


def test_counters_of_agentex_are_off_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of its metrics costs money, and Byline's own are written in both cases."""
    settings = RegistrationSettings.from_environment({})
    with_agentex = json.dumps(emitted(capsys, names="agentex"))
    without = json.dumps(emitted(capsys, names=settings.counters))
    assert AGENTEX in with_agentex
    assert AGENTEX not in without
    for text in (with_agentex, without):
        assert "RegistrationAttempt" in text


def test_every_error_class_has_an_exception_class() -> None:
    """No failure is counted without its tag."""
    assert EXCEPTION_CLASSES.keys() == set(get_args(ErrorClass))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REGISTRATION_COUNTERS", "datadog"),
        ("REGISTRATION_PRINCIPAL", "nested"),
        ("REGISTRATION_PROJECTS", "apollo,Gemini"),
        ("AUTHORIZATION_SERVICE_URL", "http://authorization.example"),
    ],
)
def test_wrong_setting_fails_the_cold_start(variable: str, value: str) -> None:
    """The message names the variable."""
    with pytest.raises(Misconfigured, match=variable):
        RegistrationSettings.from_environment({variable: value})


@pytest.mark.parametrize(
    ("url", "projects", "is_on"),
    [
        ("https://authorization.example", "", True),
        ("https://authorization.example", " gemini , apollo ,", True),
        ("https://authorization.example", "gemini", False),
        ("", "apollo", False),
        ("", "", False),
    ],
)
def test_project_is_registered_if_the_service_is_set_and_the_list_names_it(
    url: str,
    projects: str,
    is_on: bool,  # noqa: FBT001 - a column
) -> None:
    """An empty list is every project. Without the service nothing is registered."""
    settings = RegistrationSettings.from_environment(
        {"AUTHORIZATION_SERVICE_URL": url, "REGISTRATION_PROJECTS": projects}
    )
    assert settings.is_on_for("apollo") == is_on
