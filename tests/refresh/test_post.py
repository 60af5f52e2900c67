"""POST keeps the limits of GET (`tests/identity/test_fetch.py`), and adds a body."""

import time
import traceback

import pytest

from byline.fetch import MAX_ANSWER_BYTES, Answer, AnswerRefused, FetchFailed, TimedOut, fetch, post
from tests.identity.loopback import Respond, answer, drip, serve, silence

LIMIT = 0.4
"""Seconds: `timeout_seconds` in tests that wait for it."""

FORM = {"client_secret": "S3CRET", "scope": "a b&c=ü"}


def test_form_is_sent_encoded_and_once() -> None:
    """`application/x-www-form-urlencoded`, with its length and a user agent."""
    with serve(answer(b"{}")) as server:
        assert post(server.url + "/token", form=FORM, headers={"Accept": "text/x"}).body == b"{}"
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /token HTTP/1.1"
    assert body == b"client_secret=S3CRET&scope=a+b%26c%3D%C3%BC"
    names = {line.split(b":")[0].lower() for line in lines[1:]}
    assert names == {
        b"host",
        b"accept-encoding",
        b"accept",
        b"connection",
        b"content-type",
        b"content-length",
        b"user-agent",
    }
    assert b"Content-Type: application/x-www-form-urlencoded" in lines


def test_retry_after_is_in_the_answer_as_it_was_sent() -> None:
    """The caller decides what it means."""
    with serve(answer(b"", status="429 Wait", headers="Retry-After: 7\r\n")) as server:
        assert post(server.url, form={}) == Answer(429, b"", "7")
        assert fetch(server.url).retry_after == "7"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temp", "308 Perm"])
def test_redirect_is_not_followed(status: str) -> None:
    """A secret is sent to the configured address only."""
    with serve(answer(b"stolen")) as elsewhere:
        redirect = answer(status=status, headers=f"Location: {elsewhere.url}/token\r\n")
        with serve(redirect) as server, pytest.raises(AnswerRefused, match="redirect"):
            post(server.url, form=FORM)
    assert not elsewhere.requests


def test_answer_that_is_too_long_or_too_short_is_refused() -> None:
    """An answer arrived, so this is another error than a network failure."""
    with serve(answer(b"x" * MAX_ANSWER_BYTES)) as server:
        assert len(post(server.url, form=FORM).body) == MAX_ANSWER_BYTES
    for body, headers in (
        (b"x" * (MAX_ANSWER_BYTES + 1), ""),
        (b"x", "Content-Length: 100\r\n"),
    ):
        with serve(answer(body, headers=headers)) as server, pytest.raises(AnswerRefused):
            post(server.url, form=FORM)


@pytest.mark.parametrize(
    "respond", [silence, drip(b"HTTP/1.1 200 OK\r\n\r\n", every=0.05)], ids=["silence", "drip"]
)
def test_slow_server_times_out(respond: Respond) -> None:
    """An error of its own, because the server may have done the work."""
    start = time.monotonic()
    with serve(respond) as server, pytest.raises(TimedOut):
        post(server.url, form=FORM, timeout_seconds=LIMIT)
    assert time.monotonic() - start < LIMIT + 2


@pytest.mark.parametrize("form", [{"token": "S3CRET\ud800"}, {"S3CRET\ud800": "x"}])
def test_form_that_cannot_be_sent_is_not_quoted(form: dict[str, str]) -> None:
    """The form is in no error and in no error of its chain."""
    with serve(answer()) as server, pytest.raises(FetchFailed) as failure:
        post(server.url, form=form)
    error: BaseException | None = failure.value
    assert "S3CRET" not in "".join(traceback.format_exception(error))
    while error is not None:
        assert "S3CRET" not in f"{error!r}"
        error = error.__cause__ or error.__context__


def test_body_is_in_no_repr() -> None:
    """An answer may hold a token."""
    assert "S3CRET" not in repr(Answer(200, b"S3CRET"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_lambda_runtime_api_is_not_reached(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP on loopback is for issuers, not for Lambda's runtime API."""
    with serve(answer(b"{}")) as server:
        url = f"http://{host}:{server.port}/2018-06-01/runtime/init/error"
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", f"127.0.0.1:{server.port}")
        with pytest.raises(FetchFailed, match="neither https nor"):
            post(url, form=FORM)
        with pytest.raises(FetchFailed, match="neither https nor"):
            fetch(url)
        assert not server.requests
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", f"127.0.0.1:{server.port + 1}")
        assert post(url.replace("localhost", "127.0.0.1"), form=FORM).status == 200
