"""The agents that a delegated token names in its claim `act` (RFC 8693, section 4.1).

The token's subject is a person, and the outermost `act` is the agent that acts for the person. An
`act` within it names an earlier agent. The claim `may_act` says who may get such a token from the
issuer. It gives no right here, so it is not read.
"""

from collections.abc import Mapping
from copy import replace
from typing import Any

from byline.errors import Rejected
from byline.identity.caller import Actor, Caller
from byline.identity.claims import required_text
from byline.identity.trusted_issuers import MAX_ISSUER_BYTES, TrustedIssuer

MAX_ACTORS = 8
"""The most agents of a token, so that a record of it stays small."""


def actors_of(claims: Mapping[str, Any], issuer: TrustedIssuer) -> tuple[Actor, ...]:
    """The agents that `act` names, the present one first; empty for a token without it.

    Raises `Rejected`: `missing_claim` and `malformed_claim` for an `act` that names no agent,
    `untrusted_issuer` where the present agent is one of another issuer. An issuer vouches for its
    own agents alone: with a name of another issuer it could take the rights of that one's agents.
    """
    actors: list[Actor] = []
    while "act" in claims:
        claims = claims["act"]
        if not isinstance(claims, Mapping) or len(actors) == MAX_ACTORS:
            raise Rejected(
                "malformed_claim", f"`act` is not an object, or names over {MAX_ACTORS} agents."
            )
        name = claims.get("iss", issuer.issuer)
        if not actors and name != issuer.issuer:
            raise Rejected(
                "untrusted_issuer",
                "The token's `act` names an agent of another issuer than the token's own.",
                expected=issuer.issuer,
                actual=name,
            )
        if not isinstance(name, str) or len(name.encode("utf-8", "replace")) > MAX_ISSUER_BYTES:
            raise Rejected("malformed_claim", "The `iss` of an agent in `act` is not short text.")
        # Some issuers name an agent by its client alone.
        actors.append(
            Actor(name, required_text(claims, "sub" if claims.get("sub") else "client_id"))
        )
    return tuple(actors)


def acting(person: Caller, actors: tuple[Actor, ...], issuer: TrustedIssuer) -> Caller:
    """The first of the `actors` as an application that acts for `person`.

    Raises `Rejected` (`unknown_caller_kind`) unless the token's subject is proved to be a person.
    """
    if person.kind != "user":
        raise Rejected(
            "unknown_caller_kind",
            "The token's `act` names an agent, but nothing proves that its subject is a person.",
        )
    agent, *earlier = actors
    return Caller(
        kind="application",
        source="bearer",
        issuer=agent.issuer,
        subject=agent.subject,
        token_subject=agent.subject,
        name=issuer.service_accounts.get(agent.subject, agent.subject),
        represents=replace(person, through=""),
        through=person.through,
        chain=tuple(earlier),
    )
