"""Who may share a mint, who works on what, and what a runner's secrets are called.

All of it follows from names, so that any worker at any time comes to the same answer.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Self
from uuid import UUID, uuid5

import msgspec

SHARDS = 16
"""Partitions of the index `by-due`, each good for 1,000 write units a second."""

_VERSIONS = UUID("b1e9a1de-6f0c-4d0b-9a5b-0d7b5c1e4f52")
"""The namespace of version tokens (RFC 9562, section 5.5). Another one would write, after a crash,
a second version of the same generation."""


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """What one worker does at a time: the due runners of one project in one shard."""

    shard: str
    project: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MintKey:
    """What a mint is asked for. Runners with the same one share its token, never across projects.

    `scopes` are sorted and each there once: their order means nothing (RFC 6749, section 3.3).
    """

    project: str
    client: str
    audience: str | None
    resource: str | None
    scopes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        *,
        project: str,
        client: str,
        audience: str | None = None,
        resource: str | None = None,
        scope: str | None = None,
    ) -> Self:
        """The key of a registration; `scope` is its text as given."""
        return cls(
            project=project,
            client=client,
            audience=audience,
            resource=resource,
            scopes=tuple(sorted(set((scope or "").split()))),
        )

    @property
    def unit(self) -> Unit:
        """Where all runners with this key meet, so that no lock is needed to mint once for all."""
        digest = sha256(msgspec.json.encode(self)).digest()
        return Unit(shard=f"{int.from_bytes(digest) % SHARDS:02d}", project=self.project)


def shards() -> tuple[str, ...]:
    """Every shard's name."""
    return tuple(f"{number:02d}" for number in range(SHARDS))


def client_secret_name(project: str, client: str) -> str:
    """The secret that holds an OAuth client's credentials."""
    return f"byline/clients/{project}/{client}"


def token_secret_name(project: str, runner: str, slot: int) -> str:
    """The secret that holds every so-manieth token of a runner."""
    return f"byline/runners/{project}/{runner}/{slot}"


def slot_of(generation: int, *, slots: int) -> int:
    """The slot of a generation's token: the slots in turn."""
    return generation % slots


def version_token(secret_name: str, generation: int) -> str:
    """The `ClientRequestToken` under which a generation is put into a secret, 36 characters.

    The same for whoever puts it, so that after a crash, or beside another worker, the second put
    finds the first one's version instead of making another.
    """
    return str(uuid5(_VERSIONS, f"{secret_name}#{generation}"))
