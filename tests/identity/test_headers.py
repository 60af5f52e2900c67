"""Reading the target group and the headers of an event, in both of its shapes."""

from typing import Any

import pytest

from byline.errors import Rejected
from byline.identity.identity import (
    bearer_credential,
    header_values,
    single_header,
    target_group,
)
from tests.identity.alb_tokens import event, target_group_arn

DATA = "x-amzn-oidc-data"
IDENTITY = "x-amzn-oidc-identity"
BOTH_SHAPES = pytest.mark.parametrize("shape", ["single", "multi"])


def request(shape: str, *headers: tuple[str, str]) -> dict[str, Any]:
    return event(*headers, multi_value=shape == "multi")


def test_target_group_is_read_from_what_the_load_balancer_wrote() -> None:
    """Account, region and name of the group decide, whatever its id."""
    group = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/byline-browser"
    assert target_group(event(group="byline-browser")) == group


@pytest.mark.parametrize(
    "context",
    [
        None,
        [],
        "elb",
        {},
        {"elb": None},
        {"elb": []},
        {"elb": {}},
        {"elb": {"targetGroupArn": None}},
        {"elb": {"targetGroupArn": ["byline-browser"]}},
        {"elb": {"targetGroupArn": "byline-browser"}},
        {"elb": {"targetGroupArn": target_group_arn("byline-browser") + "\n"}},
        {"elb": {"targetGroupArn": target_group_arn("byline-browser/byline-bearer")}},
        {"elb": {"targetGroupArn": "x" + target_group_arn("byline-browser")}},
        {"elb": {"targetGroupArn": target_group_arn("byline-browser").replace("elastic", "e")}},
    ],
)
def test_event_of_no_load_balancer_has_no_target_group(context: Any) -> None:
    """An API gateway, a function URL, a test invocation: no group, so no credential counts."""
    assert target_group(event() | {"requestContext": context}) == ""


@BOTH_SHAPES
@pytest.mark.parametrize("spelling", [DATA, DATA.upper(), "X-Amzn-Oidc-Data"])
def test_header_is_found_in_any_spelling(shape: str, spelling: str) -> None:
    """Header names know no case (RFC 9110, section 5.1)."""
    assert single_header(request(shape, (spelling, "t")), DATA) == "t"


@BOTH_SHAPES
def test_header_that_is_not_sent_is_none(shape: str) -> None:
    """None means nothing was sent, which is not the same as something empty."""
    assert single_header(request(shape), DATA) is None
    assert single_header(request(shape, (DATA, "")), DATA) == ""


@BOTH_SHAPES
@pytest.mark.parametrize("near", ["x_amzn_oidc_data", "x-amzn-oidc-data ", "x-amzn-oidc-dat"])
def test_header_of_another_name_is_not_taken(shape: str, near: str) -> None:
    """A header whose name a gateway rewrote is not taken for the header that it resembles."""
    assert single_header(request(shape, (near, "t")), DATA) is None


@pytest.mark.parametrize("name", [DATA, IDENTITY, "authorization"])
def test_header_sent_twice_is_refused(name: str) -> None:
    """Two readers of a doubled header might each take another value."""
    assert_doubled(request("multi", (name, "one"), (name, "two")), name)


@BOTH_SHAPES
@pytest.mark.parametrize("name", [DATA, IDENTITY, "authorization"])
def test_header_in_two_spellings_is_refused(shape: str, name: str) -> None:
    """Two spellings are the same header twice, in both shapes, even with the same value."""
    assert_doubled(request(shape, (name, "same"), (name.upper(), "same")), name)


def assert_doubled(doubled: dict[str, Any], name: str) -> None:
    with pytest.raises(Rejected) as refusal:
        single_header(doubled, name)
    assert refusal.value.reason == "duplicated_header"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"headers": None},
        {"headers": []},
        {"headers": "text"},
        {"headers": {DATA: None}},
        {"headers": {DATA: 1}},
        {"headers": {DATA: {"a": 1}}},
        {"multiValueHeaders": "text"},
        {"multiValueHeaders": {DATA: None}},
        {"multiValueHeaders": {DATA: []}},
        {"multiValueHeaders": {DATA: [None]}},
        {"multiValueHeaders": {DATA: [["t"]]}},
    ],
)
def test_headers_that_no_load_balancer_sends_are_not_there(headers: dict[str, Any]) -> None:
    """Whatever a direct invocation invents is read as nothing, and never an error."""
    assert header_values(headers, DATA) == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_bearer_scheme_knows_no_case(scheme: str) -> None:
    """The scheme is case-insensitive (RFC 9110, section 11.1)."""
    token = bearer_credential(event(("authorization", f"{scheme} a.b.c")))
    assert token is not None
    assert token.text == "a.b.c"


@pytest.mark.parametrize(
    "value",
    ["", " ", "Basic YWRhOmFkYQ==", "Token a.b.c", "a.b.c", "Bearer:a.b.c", "Bearera.b.c"],
)
def test_other_scheme_is_refused(value: str) -> None:
    """Another scheme is refused, and no other header is tried instead."""
    with pytest.raises(Rejected) as refusal:
        bearer_credential(event(("authorization", value), (DATA, "a.b.c")))
    assert refusal.value.reason == "unsupported_scheme"


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "bearer    "])
def test_scheme_without_token_is_refused(value: str) -> None:
    """A scheme alone is a malformed credential, not none."""
    with pytest.raises(Rejected) as refusal:
        bearer_credential(event(("authorization", value)))
    assert refusal.value.reason == "malformed_token"


def test_bearer_credential_reads_authorization_alone() -> None:
    """On the Bearer target group the load balancer's headers are not read."""
    assert bearer_credential(event((DATA, "a.b.c"), (IDENTITY, "root"), ("cookie", "t"))) is None


def test_bearer_credential_does_not_show_its_text() -> None:
    """A credential in a log line shows that a token exists, and none of its text."""
    bearer = bearer_credential(event(("authorization", "Bearer SECRET.b.c")))
    assert "SECRET" not in f"{bearer!r} {bearer}"
