"""What a request about role bindings may say, checked on the way in.

The shapes here are the API's: `docs/openapi.json` is generated from them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from byline.identity.caller import ANONYMOUS, MAX_PRINCIPAL_BYTES, Principal
from serve_runs.web.problems import Problem
from serve_runs.web.requests import END, PRINTABLE

Subject = Annotated[str, Meta(min_length=1, max_length=255, pattern=PRINTABLE)]
IssuerName = Annotated[str, Meta(min_length=1, max_length=512, pattern="^[^#\x00-\x20\x7f]+" + END)]
RoleName = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[a-z0-9:-]+" + END)]


class RoleBinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That somebody has a role in a project. `issuer`: whose subject; by default the issuer that
    browsers sign in with."""

    role: RoleName
    subject: Subject | None = None
    kind: Literal["user", "application", "anonymous"] = "user"
    issuer: IssuerName | None = None

    def principal(self, *, default_issuer: str) -> Principal:
        """Whose role it is. Raises `Problem` 400."""
        if self.kind == "anonymous":
            if self.subject is not None or self.issuer is not None:
                raise Problem(400, "invalid_parameter", "Nobody has no subject and no issuer.")
            return ANONYMOUS
        if self.subject is None:
            raise Problem(400, "invalid_parameter", "`subject` is needed.")
        issuer = self.issuer or default_issuer
        if not issuer:
            raise Problem(400, "invalid_parameter", "`issuer` is needed: there are several.")
        principal = Principal(self.kind, issuer, self.subject)
        if len(principal.text.encode()) > MAX_PRINCIPAL_BYTES:
            raise Problem(400, "invalid_parameter", "`issuer` and `subject` are too long together.")
        return principal


class ListRoleBindings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a listing, from the query."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    cursor: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
