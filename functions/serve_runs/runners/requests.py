"""What a request about runners may say, checked on the way in.

The shapes here are the API's: `docs/openapi.json` is generated from them.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from byline.names import NAME_PATTERN, is_name, naming_rule
from serve_runs.access.context import Act
from serve_runs.web.requests import END, PRINTABLE

MAX_CHARACTERS = 512

RESOURCE_PATTERN = r"^[A-Za-z][A-Za-z0-9+.-]*:(?:[!$&-;=?-Z_a-z~\[\]]|%[0-9A-Fa-f]{2})+" + END
"""An absolute URI without a fragment (RFC 8707, section 2; RFC 3986, section 4.3)."""

SCOPE_PATTERN = r"^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*" + END
"""Scope tokens with one space between them (RFC 6749, section 3.3)."""

# Its pattern is for the document alone: what is wrong with a name is said in words of ours.
ClientName = Annotated[str, Meta(extra_json_schema={"pattern": NAME_PATTERN})]
Audience = Annotated[str, Meta(min_length=1, max_length=MAX_CHARACTERS, pattern=PRINTABLE)]
Resource = Annotated[str, Meta(max_length=MAX_CHARACTERS, pattern=RESOURCE_PATTERN)]
Scope = Annotated[str, Meta(max_length=MAX_CHARACTERS, pattern=SCOPE_PATTERN)]
Subject = Annotated[str, Meta(min_length=1, max_length=255, pattern=PRINTABLE)]


class RegisterRunner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A runner to register: the client that its tokens are minted for, and what they are to be.

    `subject` is the runner's own, at the issuer of whoever registers it: it alone may fetch the
    runner's token. What is left out is not kept from an earlier registration.
    """

    client: ClientName
    audience: Audience | None = None
    resource: Resource | None = None
    scope: Scope | None = None
    subject: Subject | None = None

    def __post_init__(self) -> None:
        if not is_name(self.client):
            raise ValueError(naming_rule(self.client, of="client"))


class ListRunners(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a listing, from the query."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=512)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A request to register a runner: which, as what, and by whom."""

    project: str
    runner: str
    body: RegisterRunner
    act: Act

    @property
    def subject_issuer(self) -> str | None:
        """Whose subject the runner's is. A subject alone is nobody: issuers may share names."""
        if self.body.subject is None or self.act.caller is None:
            return None
        return self.act.caller.issuer
