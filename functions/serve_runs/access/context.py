"""What a request does, as rows and the audit trail remember it: who, for whom, by which request."""

from dataclasses import dataclass

import msgspec

from byline.identity.caller import Caller

NOBODY = "anonymous"


@dataclass(frozen=True, slots=True)
class Person:
    """A person that somebody else acts for: its principal, and `executed_by` as JSON.

    `is_inherited`: it follows from the parent run, and not from the actor.
    """

    principal: str
    identity: str
    is_inherited: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """One request's doing. `on_behalf_of`: the person that `caller` acts for, if it is not its own.

    `request_id` is Lambda's, which no two requests share.
    """

    caller: Caller | None
    request_id: str
    on_behalf_of: Person | None = None

    @property
    def identity(self) -> str | None:
        """The actor as the `…_by` columns have it, JSON; None for nobody and for unknown kinds."""
        identity = None if self.caller is None else self.caller.identity
        return None if identity is None else msgspec.json.encode(identity).decode()

    @property
    def principal(self) -> str:
        """The actor by kind, issuer and subject."""
        return principal_text(self.caller)

    @property
    def answerable(self) -> str | None:
        """Whose doing it is in the end: the person acted for, else the actor; None for nobody."""
        if self.on_behalf_of is not None:
            return self.on_behalf_of.principal
        return None if self.caller is None else self.principal


def principal_text(caller: Caller | None) -> str:
    """The principal that a caller is, as records name it.

    That of a verified subject whose kind is unknown too: it has no rights, but is not nobody.
    """
    return NOBODY if caller is None else f"{caller.kind}:{caller.issuer}#{caller.subject}"
