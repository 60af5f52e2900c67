"""The bodies of runners; docs/openapi.json is generated from them."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from byline.identity.claims import MAX_SUBJECT_BYTES
from byline.identity.typed_text import fault_of_typed
from byline.names import NAME_PATTERN, is_name, naming_rule
from serve_runs.audit.trail import ActionContext
from serve_runs.web.requests import END, PRINTABLE

MAX_CHARACTERS = 512

RESOURCE_PATTERN = r"^[A-Za-z][A-Za-z0-9+.-]*:(?:[!$&-;=?-Z_a-z~\[\]]|%[0-9A-Fa-f]{2})+" + END
"""An absolute URI without a fragment (RFC 8707, section 2; RFC 3986, section 4.3)."""

SCOPE_PATTERN = r"^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*" + END
"""Scope tokens with one space between them (RFC 6749, section 3.3)."""

# The pattern is for docs/openapi.json only. `naming_rule` explains an invalid name better.
ClientName = Annotated[str, Meta(extra_json_schema={"pattern": NAME_PATTERN})]
Audience = Annotated[str, Meta(min_length=1, max_length=MAX_CHARACTERS, pattern=PRINTABLE)]
ResourceUri = Annotated[str, Meta(max_length=MAX_CHARACTERS, pattern=RESOURCE_PATTERN)]
Scope = Annotated[str, Meta(max_length=MAX_CHARACTERS, pattern=SCOPE_PATTERN)]
RunnerSubject = Annotated[str, Meta(min_length=1, max_length=MAX_SUBJECT_BYTES, pattern=PRINTABLE)]


class RegisterRunner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A runner to register: the OAuth client of its tokens, and what the tokens are for.

    `subject` is the runner's own, at the issuer of the caller that registers it. It may fetch the
    runner's token. `isolated`: the runner gets a token of its own, which is revoked with it; other
    runners with equal requests share one. A member that is left out is removed.
    """

    client: ClientName
    audience: Audience | None = None
    resource: ResourceUri | None = None
    scope: Scope | None = None
    subject: RunnerSubject | None = None
    isolated: bool = False

    def __post_init__(self) -> None:
        if not is_name(self.client):
            raise ValueError(naming_rule(self.client, of="client"))
        if fault := fault_of_typed(self.subject or ""):
            raise ValueError(f"`subject` {fault}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerRegistration:
    """A request to register a runner."""

    project: str
    runner: str
    body: RegisterRunner
    action: ActionContext

    @property
    def subject_issuer(self) -> str | None:
        """The issuer of the runner's subject, because a subject alone is ambiguous; or None."""
        if self.body.subject is None or self.action.caller is None:
            return None
        return self.action.caller.issuer
