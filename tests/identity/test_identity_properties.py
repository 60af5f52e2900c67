"""Promises that hold for any input of a stranger. Hypothesis searches for inputs."""

import json
import string
import traceback
from copy import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from byline.errors import REASONS, Rejected, Unavailable
from byline.identity.caller import Caller
from byline.identity.identity import Identity
from byline.identity.settings import SignerKeys
from tests.identity.alb_tokens import (
    BEARER_GROUP,
    BROWSER_GROUP,
    CLAIMS,
    FOREIGN_SIGNER,
    HEADER,
    KEYS_URL,
    NOW,
    SETTINGS,
    PublishedKeys,
    SetClock,
    event,
    mint,
    padded,
    segments_of,
    sign,
    signing_key,
    target_group_arn,
)
from tests.identity.bearer_issuer import BearerIssuer

DATA = "x-amzn-oidc-data"
TOKEN = mint()
BEARER_ISSUER = BearerIssuer()
BEARER_TOKEN = BEARER_ISSUER.token().text

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def identity(**changes: Any) -> Identity:
    settings = replace(SETTINGS, trusted_issuers=(BEARER_ISSUER.trusted(),))
    web = PublishedKeys()
    web.answers |= BEARER_ISSUER.web.answers
    return Identity(replace(settings, **changes), fetch=web, now=SetClock())


VERIFYING = identity()
"""One for all examples: what it remembers of one may not help another."""


def identify(token: str, *, by: Identity = VERIFYING, header: str = DATA) -> Caller | None:
    group = BROWSER_GROUP if header == DATA else BEARER_GROUP
    return by.identify(event((header, token), group=group))


def assert_refused(token: str, *, by: Identity = VERIFYING) -> None:
    """Refused with a reason of the closed list, and without a segment of the token anywhere."""
    with pytest.raises(Rejected) as refusal:
        identify(token, by=by)
    assert refusal.value.reason in REASONS
    assert_tells_nothing(refusal.value, token)


def assert_tells_nothing(error: BaseException, token: str) -> None:
    """Neither the error nor anything that it drags along shows a part of the token."""
    shown = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        shown += f"{link} {link!r} {vars(link)}"
        link = link.__cause__ or link.__context__
    for segment in segments_of([token]):
        # A short one may be a word of the code that the traceback shows.
        assert len(segment) < 24 or segment not in shown


def test_valid_token_is_accepted() -> None:
    """What all properties below start from."""
    caller = identify(TOKEN)
    assert caller is not None
    assert caller.subject == CLAIMS["sub"]
    bearer = identify(f"Bearer {BEARER_TOKEN}", header="authorization")
    assert bearer is not None
    assert bearer.subject == "ada"


@given(
    position=st.integers(0, len(TOKEN) - 1),
    character=st.sampled_from(string.ascii_letters + string.digits + "-_=.+/ \n\x00é"),
)
def test_token_with_one_character_replaced_is_refused(position: int, character: str) -> None:
    """Any one character of header, payload, signature or padding."""
    assume(TOKEN[position] != character)
    assert_refused(TOKEN[:position] + character + TOKEN[position + 1 :])


@given(
    position=st.integers(0, len(TOKEN)),
    insertion=st.text(string.ascii_letters + string.digits + "-_=. \n\x00", min_size=1, max_size=4),
)
def test_token_with_text_inserted_is_refused(position: int, insertion: str) -> None:
    """Anywhere, before and after included."""
    spoiled = TOKEN[:position] + insertion + TOKEN[position:]
    assume(spoiled != TOKEN)
    assert_refused(spoiled)


@given(start=st.integers(0, len(TOKEN) - 1), length=st.integers(1, len(TOKEN)))
def test_token_with_a_piece_missing_is_refused(start: int, length: int) -> None:
    """Any piece, the whole included."""
    assert_refused(TOKEN[:start] + TOKEN[start + length :])


@given(first=st.integers(0, 2), second=st.integers(0, 2))
def test_token_with_segments_of_another_is_refused(first: int, second: int) -> None:
    """Two genuine tokens, mixed, make no third."""
    assume(first != second)
    other = mint({"exp": NOW + 60}, {"exp": NOW + 60, "sub": "grace"}).split(".")
    mixed = TOKEN.split(".")
    mixed[first] = other[first]
    assert_refused(".".join(mixed))
    mixed = TOKEN.split(".")
    mixed[first], mixed[second] = mixed[second], mixed[first]
    assert_refused(".".join(mixed))


@given(
    field=st.sampled_from(["alg", "kid", "iss", "client", "signer"]),
    value=json_values | st.sampled_from([FOREIGN_SIGNER, "HS256", "none"]),
)
def test_header_with_one_checked_field_of_another_value_is_refused(field: str, value: Any) -> None:
    """ALBeast: an attacker's own load balancer signs any header with the same key."""
    assume(value != HEADER[field])
    assert_refused(mint({field: value}))


@given(
    expiry=json_values.filter(lambda value: type(value) is not int or value <= NOW)
    | st.integers(max_value=NOW)
)
def test_header_whose_expiry_is_no_time_to_come_is_refused(expiry: Any) -> None:
    """Past times, text, fractions, truth values."""
    assert_refused(mint({"exp": expiry}, {"exp": expiry}))


@given(
    claim=st.sampled_from(["exp", "iss"]),
    value=json_values.filter(lambda value: type(value) is not float),
)
def test_payload_that_contradicts_the_header_is_refused(claim: str, value: Any) -> None:
    """Whatever a signed payload repeats must agree."""
    assume(value != HEADER[claim])
    assert_refused(mint(claims={claim: value}))


@given(subject=json_values.filter(lambda value: not isinstance(value, str)))
def test_subject_that_is_no_text_is_refused(subject: Any) -> None:
    """No type but text names a person."""
    assert_refused(mint(claims={"sub": subject}))


@given(subject=st.text(st.characters(codec="utf-8")))
def test_subject_is_taken_to_the_letter_or_refused(subject: str) -> None:
    """No subject turns into another on its way."""
    try:
        caller = identify(mint(claims={"sub": subject}))
    except Rejected as refusal:
        assert refusal.reason in ("missing_claim", "malformed_claim")  # noqa: PT017
    else:
        assert caller is not None
        assert caller.subject == subject


@given(
    setting=st.sampled_from(["signer", "oidc_client_id", "oidc_issuer", "browser_target_group"]),
    value=st.text(),
)
def test_configuration_of_another_deployment_refuses_the_token(setting: str, value: str) -> None:
    """Another load balancer, client, issuer or target group, however near."""
    if setting == "signer":
        by = identity(signers=(SignerKeys(value, KEYS_URL),))
    else:
        assume(value != getattr(SETTINGS, setting))
        by = identity(**{setting: value})
    assert_refused(TOKEN, by=by)


@given(unsigned=st.text())
def test_unsigned_subject_of_any_other_person_is_refused(unsigned: str) -> None:
    """Beside the best token, another name in the other header refuses the request."""
    assume(unsigned != CLAIMS["sub"])
    with pytest.raises(Rejected):
        VERIFYING.identify(event((DATA, TOKEN), ("x-amzn-oidc-identity", unsigned)))


@given(r=st.integers(0, 2**256 - 1), s=st.integers(0, 2**256 - 1))
def test_signature_of_any_two_numbers_is_refused(r: int, s: int) -> None:
    """No pair of numbers verifies by accident or raises something else."""
    head = TOKEN.rpartition(".")[0]
    assert_refused(f"{head}.{padded(r.to_bytes(32) + s.to_bytes(32))}")


@given(text=st.text() | st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)))
@pytest.mark.parametrize("header", [DATA, "authorization"])
@pytest.mark.parametrize("prefix", ["", "Bearer ", "a.b.", "e30=.e30=.", "Bearer e30.e30."])
def test_any_text_is_refused_and_nothing_else_happens(header: str, prefix: str, text: str) -> None:
    """No text raises anything but `Rejected` or `Unavailable`."""
    with pytest.raises((Rejected, Unavailable)) as refusal:
        identify(prefix + text, header=header)
    assert_tells_nothing(refusal.value, prefix + text)


@given(
    header=json_values,
    payload=json_values,
    key_name=st.sampled_from(["the region's", "a forger's"]),
)
@pytest.mark.parametrize("name", [DATA, "authorization"])
def test_any_json_in_a_token_is_refused_and_nothing_else_happens(
    name: str, header: Any, payload: Any, key_name: str
) -> None:
    """Whatever JSON stands in the segments, signed by the region's key or not."""
    fields = {**HEADER, **header} if isinstance(header, dict) else header
    claims = {**CLAIMS, **payload, "sub": 1} if isinstance(payload, dict) else payload
    segments = (json.dumps(part).encode() for part in (fields, claims))
    token = sign(*segments, key=signing_key(key_name))
    text = token if name == DATA else "Bearer " + token.replace("=", "")
    with pytest.raises((Rejected, Unavailable)) as refusal:
        identify(text, header=name)
    assert_tells_nothing(refusal.value, token)


names = st.sampled_from(
    [
        *("headers", "multiValueHeaders", "requestContext", "elb", "targetGroupArn", "body"),
        *(DATA, DATA.upper(), "x-amzn-oidc-identity", "authorization", "Authorization"),
    ]
)
texts = st.sampled_from(
    [
        *(TOKEN, mint({"signer": FOREIGN_SIGNER}), "Bearer ", "a.b.c", "", CLAIMS["sub"]),
        *(target_group_arn(BROWSER_GROUP), target_group_arn(BEARER_GROUP)),
    ]
)
events = st.dictionaries(
    names,
    st.recursive(
        json_values | texts,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(names | st.text(), inner, max_size=5)
        ),
        max_leaves=20,
    ),
)
contexts = st.sampled_from([event(group=group) for group in (BROWSER_GROUP, BEARER_GROUP, "x")])


@given(context=contexts, hostile=events)
@pytest.mark.parametrize("trust", ["verify", "forwarded", "ignore"])
@pytest.mark.parametrize("anonymous", ["refuse", "allow"])
def test_any_event_is_answered_or_refused_and_nothing_else_happens(
    trust: str, anonymous: str, context: dict[str, Any], hostile: dict[str, Any]
) -> None:
    """No event, real or invented, raises anything but the two errors."""
    by = identity(trust=trust, anonymous=anonymous)
    for request in (hostile, context | hostile, hostile | context):
        try:
            caller = by.identify(request)
        except (Rejected, Unavailable) as error:
            assert_tells_nothing(error, TOKEN)
        else:
            assert caller is None or caller.kind in ("user", "application")
            if trust == "verify" and caller is not None:
                assert caller.subject == CLAIMS["sub"]
