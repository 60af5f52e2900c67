"""Delegated tokens (RFC 8693, section 4.1): a person in `sub`, and in `act` the agent that acts."""

from collections.abc import Mapping
from typing import Any

import pytest

from byline.errors import Rejected
from byline.identity.caller import Actor, Caller
from byline.identity.delegation import MAX_ACTORS
from tests.identity.bearer_issuer import ISSUER, PERSON, USERINFO_URL, BearerIssuer

DELEGATED = {**PERSON, "client_id": "planner-client", "act": {"sub": "planner"}}


def caller(claims: Mapping[str, Any], **members: Any) -> Caller:
    issuer = BearerIssuer()
    return issuer.verifier(**members).verify_bearer(issuer.token(claims))


def refusal(claims: dict[str, Any], *, fetches: int = 0) -> str:
    """The reason of the refusal, after so many fetches."""
    issuer = BearerIssuer()
    with pytest.raises(Rejected) as refused:
        issuer.verifier().verify_bearer(issuer.token(claims))
    assert len(issuer.web.requests) == fetches
    return refused.value.reason


def test_agent_is_the_caller_and_represents_the_person() -> None:
    """The agent of `act` is an application, and the person stands beside it."""
    agent = caller({**DELEGATED, "name": "Ada Lovelace", "email": "ada@example.com"})
    assert (agent.kind, agent.issuer, agent.subject) == ("application", ISSUER, "planner")
    assert (agent.through, agent.chain) == ("planner-client", ())
    person = agent.represents
    assert person is not None
    assert (person.kind, person.subject, person.display_name) == ("user", "ada", "Ada Lovelace")
    assert (person.email, person.through) == ("ada@example.com", "")


def test_earlier_agents_are_kept_in_their_order() -> None:
    """A nested `act` is the history of the token. An earlier agent may be of another issuer."""
    earlier = {"sub": "tool", "act": {"sub": "ada-cli", "iss": "https://other.example"}}
    agent = caller({**DELEGATED, "act": {"sub": "planner", "act": earlier}})
    assert agent.subject == "planner"
    assert agent.chain == (Actor(ISSUER, "tool"), Actor("https://other.example", "ada-cli"))


def test_agent_named_by_its_client_alone_is_the_caller() -> None:
    """Some issuers write the agent's `client_id` and no `sub`."""
    assert caller({**DELEGATED, "act": {"client_id": "api1"}}).subject == "api1"


def test_agent_has_its_configured_name() -> None:
    """`service_accounts` names agents too."""
    agent = caller(DELEGATED, service_accounts={"planner": "Planner"})
    assert (agent.subject, agent.name) == ("planner", "Planner")


def test_permission_to_act_is_no_delegation() -> None:
    """`may_act` is for the issuer: a person's own token with it stays the person's."""
    person = caller({**PERSON, "may_act": {"sub": "planner"}})
    assert (person.kind, person.subject, person.represents) == ("user", "ada", None)


def test_persons_own_client_is_no_agent() -> None:
    """The client of a token without `act` is shown beside the person, and is not the caller."""
    person = caller(PERSON)
    assert (person.kind, person.subject, person.through) == ("user", "ada", "web")


def test_delegated_token_causes_no_further_fetch() -> None:
    """The same documents are fetched as for the person's own token, and no userinfo."""
    issuer = BearerIssuer()
    issuer.verifier(userinfo=True).verify_bearer(issuer.token(DELEGATED))
    assert issuer.web.count(USERINFO_URL) == 0
    assert len(issuer.web.requests) == 2


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (None, "malformed_claim"),
        ("planner", "malformed_claim"),
        ([{"sub": "planner"}], "malformed_claim"),
        ({}, "missing_claim"),
        ({"sub": ""}, "missing_claim"),
        ({"sub": 7}, "malformed_claim"),
        ({"sub": "a\nb"}, "malformed_claim"),
        ({"sub": "planner", "act": "tool"}, "malformed_claim"),
        ({"sub": "planner", "act": {}}, "missing_claim"),
        ({"sub": "planner", "act": {"sub": "tool", "iss": 7}}, "malformed_claim"),
        ({"sub": "planner", "iss": "https://other.example"}, "untrusted_issuer"),
        ({"sub": "planner", "iss": f"{ISSUER}/"}, "untrusted_issuer"),
        ({"sub": "planner", "iss": None}, "untrusted_issuer"),
    ],
)
def test_act_that_names_no_agent_of_the_issuer_is_refused(act: Any, reason: str) -> None:
    """It is never ignored: the person would then seem to have done it. No key is fetched."""
    assert refusal({**DELEGATED, "act": act}) == reason


def test_most_agents_are_accepted_and_one_more_is_refused() -> None:
    """A record of the chain stays small."""

    def nested(count: int) -> dict[str, Any]:
        act: dict[str, Any] = {"sub": "first"}
        for number in range(count - 1):
            act = {"sub": f"agent-{number}", "act": act}
        return {**DELEGATED, "act": act}

    assert len(caller(nested(MAX_ACTORS)).chain) == MAX_ACTORS - 1
    assert refusal(nested(MAX_ACTORS + 1)) == "malformed_claim"


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "planner", "client_id": "planner", "act": {"sub": "mallory"}},
        {"sub": "298", "auth_time": None, "act": {"sub": "planner"}},
    ],
    ids=["application", "unknown kind"],
)
def test_subject_that_is_no_person_is_refused(claims: dict[str, Any]) -> None:
    """An agent acts for people only: no application lends its rights to another one."""
    assert refusal({**PERSON, **claims}, fetches=2) == "unknown_caller_kind"
