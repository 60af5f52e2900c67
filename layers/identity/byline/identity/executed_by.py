"""Flyte's `EnrichedIdentity`, the shape in which a run tells who did something to it.

`{"user": {"id": {"subject": …}, "spec": {"firstName": …, "lastName": …, "email": …}}}` or
`{"application": {"id": {"subject": …}, "spec": {"name": …}}}`. Empty fields are left out.
"""

from typing import Any

import msgspec


class Subject(msgspec.Struct, frozen=True):
    """What the issuer calls the caller."""

    subject: str


class UserSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What is known of a person."""

    first_name: str = ""
    last_name: str = ""
    email: str = ""


class ApplicationSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a service account."""

    name: str = ""


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person."""

    id: Subject
    spec: UserSpec = UserSpec()


class Application(msgspec.Struct, frozen=True, omit_defaults=True):
    """A service account."""

    id: Subject
    spec: ApplicationSpec = ApplicationSpec()


class ExecutedBy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Exactly one of the two."""

    user: User | None = None
    application: Application | None = None

    def __post_init__(self) -> None:
        if (self.user is None) == (self.application is None):
            raise ValueError("exactly one of user and application")


_DECODER = msgspec.json.Decoder(ExecutedBy)


def read_executed_by(stored: str | bytes) -> dict[str, Any] | None:
    """What was stored, checked: None for whatever is not an identity, never an error."""
    try:
        return msgspec.to_builtins(_DECODER.decode(stored))  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
