"""The metadata by which a client finds out where to sign in (RFC 9728).

It is the same for every caller, and comes from settings alone: no header of a request changes it.
"""

from collections.abc import Sequence

import msgspec
from aws_lambda_powertools.event_handler import Response

from byline.identity.issuer_profiles import profile_of
from byline.identity.trusted_issuers import TrustedIssuer
from serve_runs.calls import json_answer
from serve_runs.errors import not_found
from serve_runs.web.problems import METADATA_PATH
from serve_runs.web.routing import Route

_ASK_FOR_AUDIENCE = frozenset({"github", "gitlab", "aws"})
"""The profiles whose jobs request a token for an audience, and so have to know it. The names of
other issuers of machines' tokens, such as clusters, are nobody else's business."""

_IN_EVERY_TOKEN = frozenset({"iss", "aud", "exp"})


class ResourceMetadata(msgspec.Struct, frozen=True):
    """The metadata of the service at `origin`, which accepts tokens of `issuers`.

    Without an origin there is no document: the client compares it with the address that it called.
    """

    origin: str
    issuers: Sequence[TrustedIssuer]

    def routes(self) -> tuple[Route, ...]:
        """The route. It needs no caller, because a client reads it to become one."""
        return (Route("GET", METADATA_PATH, self.show_resource_metadata, is_public=True),)

    def show_resource_metadata(self) -> Response[str]:
        """Where clients sign in, and which audience they ask for (RFC 9728)."""
        if not self.origin:
            raise not_found()
        return json_answer(
            200,
            {
                "resource": self.origin,
                "authorization_servers": [
                    each.issuer for each in self.issuers if _has_people(each)
                ],
                "bearer_methods_supported": ["header"],
                "resource_name": "Byline",
                "byline_issuers": [
                    _issuer(each)
                    for each in self.issuers
                    if _has_people(each) or each.profile in _ASK_FOR_AUDIENCE
                ],
            },
        )


def _has_people(issuer: TrustedIssuer) -> bool:
    """Whether a token of the issuer can be a person's, by the rules of its profile and its own.

    If none can, nobody signs in there, and no client has to know it.
    """
    rules = profile_of(issuer)
    # With several claims for the subject, each of them may be absent.
    present = _IN_EVERY_TOKEN | (set(rules.subject) if len(rules.subject) == 1 else set())
    return bool(rules.person_when) and not any(
        all(claim in present and test == "*" for claim, test in condition.items())
        for condition in rules.application_when
    )


def _issuer(issuer: TrustedIssuer) -> dict[str, str]:
    known = {"issuer": issuer.issuer, "profile": issuer.profile, "audience": issuer.audiences[0]}
    if issuer.cli is not None:
        known |= {"cli_client_id": issuer.cli.client_id, "cli_scope": issuer.cli.scope}
    return known
