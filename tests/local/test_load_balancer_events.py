"""The conversion of requests to events and of answers to replies, as on AWS."""

from typing import Any

import pytest

from local.load_balancer_events import (
    MAX_BODY_BYTES,
    BadAnswer,
    Reply,
    Request,
    to_event,
    to_reply,
)

GROUP = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/group/1234567890abcdef"
ANSWER: dict[str, Any] = {
    "statusCode": 201,
    "multiValueHeaders": {"Location": ["/v1/x"], "Set-Cookie": ["a=1", "b=2"]},
    "body": "é",
    "isBase64Encoded": False,
}


def request(body: bytes = b"", **headers: str) -> Request:
    """A request with repeated headers and parameters."""
    pairs = (("accept", "a"), ("accept", "b"), *headers.items())
    named = tuple((name.replace("_", "-"), value) for name, value in pairs)
    return Request("POST", "/v1/a%20b", "q=1&q=2%2F&flag&=x", named, body)


def test_multi_value_event_keeps_every_value_undecoded() -> None:
    """The event has all values of repeated headers and parameters, not URL-decoded."""
    event = to_event(request(), GROUP, shape="multi-value")
    assert event == {
        "requestContext": {"elb": {"targetGroupArn": GROUP}},
        "httpMethod": "POST",
        "path": "/v1/a%20b",
        "multiValueHeaders": {"accept": ["a", "b"]},
        "multiValueQueryStringParameters": {"q": ["1", "2%2F"], "flag": [""], "": ["x"]},
        "body": "",
        "isBase64Encoded": False,
    }


def test_single_value_event_keeps_the_last_value() -> None:
    """Without multi-value headers, the event has the last value of each name."""
    event = to_event(request(), GROUP, shape="single-value")
    assert event["headers"] == {"accept": "b"}
    assert event["queryStringParameters"] == {"q": "2%2F", "flag": "", "": "x"}
    assert not any(name.startswith("multiValue") for name in event)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json; charset=utf-8", "Application/XML"]
)
def test_text_body_is_text_in_the_event(content_type: str) -> None:
    """A body with a text type is not encoded."""
    event = to_event(request("é".encode(), content_type=content_type), GROUP, shape="multi-value")
    assert (event["body"], event["isBase64Encoded"]) == ("é", False)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x", {"content_type": "application/octet-stream"}),
        (b"x", {}),
        (b"x", {"content_type": "application/json", "content_encoding": "gzip"}),
        (b"\xff", {"content_type": "application/json"}),
    ],
)
def test_other_body_is_base64_in_the_event(body: bytes, headers: dict[str, str]) -> None:
    """A body of another type, without a type, compressed, or not UTF-8 is encoded in base64."""
    event = to_event(request(body, **headers), GROUP, shape="multi-value")
    assert event["isBase64Encoded"] is True
    assert event["body"] in ("eA==", "/w==")


def test_multi_value_answer_becomes_a_reply() -> None:
    """The reply has the status, every value of every header, and the body."""
    assert to_reply(ANSWER, shape="multi-value") == Reply(
        201, (("Location", "/v1/x"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")), "é".encode()
    )


def test_single_value_answer_becomes_a_reply() -> None:
    """The reply has each header once, and the decoded body."""
    answer = {"statusCode": 200, "headers": {"X": "y"}, "body": "AP8=", "isBase64Encoded": True}
    assert to_reply(answer, shape="single-value") == Reply(200, (("X", "y"),), b"\x00\xff")


@pytest.mark.parametrize(
    "spoilt",
    [
        {"statusCode": "201"},
        {"statusCode": 99},
        {"statusCode": True},
        {"body": {"not": "text"}},
        {"body": "not base64", "isBase64Encoded": True},
        {"multiValueHeaders": {"X": "not a list"}},
        {"multiValueHeaders": {"X": ["a\r\nSet-Cookie: b"]}},
        {"multiValueHeaders": {}, "headers": {"X": "y"}},
        {"body": "x" * MAX_BODY_BYTES},
    ],
)
def test_spoilt_answer_is_refused(spoilt: dict[str, Any]) -> None:
    """An answer with one fault raises `BadAnswer`."""
    with pytest.raises(BadAnswer):
        to_reply({**ANSWER, **spoilt}, shape="multi-value")


@pytest.mark.parametrize("answer", [None, "text", [], 200])
def test_answer_that_is_no_object_is_refused(answer: Any) -> None:
    """An answer that is not a JSON object raises `BadAnswer`."""
    with pytest.raises(BadAnswer):
        to_reply(answer, shape="multi-value")


def test_answer_of_one_megabyte_passes_and_the_next_byte_does_not() -> None:
    """An answer of one megabyte becomes a reply, and one byte more raises `BadAnswer`."""
    empty = {"statusCode": 200, "body": ""}
    fits = MAX_BODY_BYTES - len('{"statusCode": 200, "body": ""}')
    assert len(to_reply({**empty, "body": "x" * fits}, shape="multi-value").body) == fits
    with pytest.raises(BadAnswer):
        to_reply({**empty, "body": "x" * (fits + 1)}, shape="multi-value")


def test_hop_by_hop_headers_of_an_answer_are_removed() -> None:
    """The reply does not have the headers that describe the connection."""
    answer = {
        "statusCode": 200,
        "multiValueHeaders": {"Connection": ["close"], "Content-Length": ["7"], "X": ["y"]},
    }
    assert to_reply(answer, shape="multi-value").headers == (("X", "y"),)
