"""The documents, with members named as in the API. docs/apply.schema.json is made from them."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
_WORD = r"[\x21\x23-\x5b\x5d-\x7e]+"
_NO_TIME = "must be a time such as 2027-01-31T12:00:00Z"
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

Name = Annotated[str, StringConstraints(pattern=_NAME)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PRINTABLE)]
RoleName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9:-]+$")]
Subject = Annotated[str, StringConstraints(min_length=1, max_length=315, pattern=_PRINTABLE)]
Issuer = Annotated[
    str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^#\x00-\x20\x7f]+$")
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=_PRINTABLE)]
Email = Annotated[
    str,
    StringConstraints(
        min_length=3, max_length=320, pattern=r"^[^@\x00-\x20\x7f]+@[^@\x00-\x20\x7f]+$"
    ),
]
Url = Annotated[str, StringConstraints(max_length=512, pattern=r"^https://[^\s?#@]+$")]
ResourceUri = Annotated[
    str, StringConstraints(max_length=512, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s#]+$")
]
Scope = Annotated[str, StringConstraints(max_length=512, pattern=f"^{_WORD}( {_WORD})*$")]
Provider = Literal["github", "gitlab", "jira", "google", "vertex", "kubeconfig", "generic"]


def _time(value: object) -> object:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError(_NO_TIME)
    try:
        return datetime.fromisoformat(value.upper().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(_NO_TIME) from None


Time = Annotated[
    AwareDatetime, BeforeValidator(_time), Field(json_schema_extra={"format": "date-time"})
]


class _Model(BaseModel):
    # `hide_input_in_errors`: a value may be a secret that was written into the wrong place.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class SecretSource(_Model):
    """The place of a secret: a variable of the environment, or a file relative to the document."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    file: Annotated[str, StringConstraints(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_no_text(cls, value: Any) -> Any:
        if not isinstance(value, dict) or len(value) != 1:
            raise ValueError("must be the place of the secret: {env: VARIABLE} or {file: PATH}")
        return value


class PrincipalMember(_Model):
    """A principal as `who` shows it."""

    kind: Literal["user", "application"]
    issuer: Issuer
    subject: Subject


class _Document(_Model):
    project: Annotated[Name | None, Field(description="By default that of the command.")] = None


class BindingDocument(_Document):
    """A role in a project. `name` is only for patches and messages.

    Of `subject` (a person), `email` (a person) and `principal`, exactly one is given.
    """

    kind: Literal["RoleBinding"]
    name: Title
    role: RoleName
    subject: Subject | None = None
    issuer: Annotated[Issuer | None, Field(description="The issuer of `subject`.")] = None
    email: Email | None = None
    principal: Annotated[
        PrincipalMember | Text | None,
        Field(description="`user:issuer#subject`, `application:issuer#subject`, `anonymous`."),
    ] = None

    @model_validator(mode="after")
    def _names_one(self) -> "BindingDocument":
        if sum(each is not None for each in (self.subject, self.email, self.principal)) != 1:
            raise ValueError("give exactly one of `subject`, `email` and `principal`")
        if self.issuer is not None and self.subject is None:
            raise ValueError("`issuer` needs `subject`")
        return self


class AgentDocument(_Document):
    """An agent that may act in the project for whoever's token it carries."""

    kind: Literal["Agent"]
    name: Name
    subject: Annotated[Subject | None, Field(description="By default `name`.")] = None
    issuer: Issuer | None = None
    roles: Annotated[list[RoleName], Field(min_length=1, max_length=8)] = ["project:editor"]
    expires_at: Time | None = None


class ServiceAccountDocument(_Document):
    """An application that acts for whoever applies the document. Its own token identifies it."""

    kind: Literal["ServiceAccount"]
    name: Title
    token: SecretSource
    role: RoleName = "project:editor"
    expires_at: Time | None = None


class ReaderMember(_Model):
    """A reader of a credential: a role, a runner, or an application with its issuer."""

    role: RoleName | None = None
    runner: Name | None = None
    issuer: Issuer | None = None
    subject: Subject | None = None
    run_labels: Annotated[dict[str, str], Field(max_length=8)] = {}

    @model_validator(mode="after")
    def _names_one(self) -> "ReaderMember":
        kinds = (self.role, self.runner, self.subject)
        is_one = sum(each is not None for each in kinds) == 1
        if not is_one or (self.issuer is None) != (self.subject is None):
            raise ValueError("is a `role`, a `runner`, or an `issuer` with a `subject`")
        return self


class CredentialDocument(_Document):
    """A credential. Without `readers`, those that it has stay."""

    kind: Literal["Credential"]
    name: Name
    provider: Provider
    token: SecretSource
    url: Url | None = None
    email: Annotated[Email, StringConstraints(max_length=254)] | None = None
    readers: Annotated[list[ReaderMember], Field(max_length=20)] | None = None

    @model_validator(mode="after")
    def _has_site(self) -> "CredentialDocument":
        if self.provider == "jira" and (self.url is None or self.email is None):
            raise ValueError("a credential of `jira` needs `url` and `email`")
        return self


class RunnerDocument(_Document):
    """A runner: the OAuth client of its tokens, and what the tokens are for."""

    kind: Literal["Runner"]
    name: Name
    client: Name
    audience: Text | None = None
    resource: ResourceUri | None = None
    scope: Scope | None = None
    subject: Subject | None = None
    isolated: bool = False


Document = (
    BindingDocument | AgentDocument | ServiceAccountDocument | CredentialDocument | RunnerDocument
)
MODELS: dict[str, type[Document]] = {
    "RoleBinding": BindingDocument,
    "Agent": AgentDocument,
    "ServiceAccount": ServiceAccountDocument,
    "Credential": CredentialDocument,
    "Runner": RunnerDocument,
}
"""The kinds in the order in which they are written. They are deleted in the opposite order."""
