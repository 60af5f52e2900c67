"""The body of a change of an apply set; docs/openapi.json is generated from it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from byline.identity.caller import MAX_PRINCIPAL_BYTES
from serve_runs.web.requests import PRINTABLE

MAX_MEMBERS = 1000
MAX_CHANGES = 100
"""The most members to add or to remove at once. A body has at most 64 KiB."""

MAX_BYTES = 200_000
"""The most bytes of a set's members as JSON. A row of DynamoDB has at most 400 KB."""

MemberKind = Literal["RoleBinding", "Agent", "ServiceAccount", "Credential", "Runner"]


MAX_MARK = 64


class SetMember(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, order=True, omit_defaults=True
):
    """A member of an apply set.

    `key`: a name; of a service account its id, of a role binding its role, a space and its
    principal. `mark`: what tells the entry from a later one of the same key, such as its
    `created_at`; empty where the client does not know yet whether it made the entry.
    """

    kind: MemberKind
    key: Annotated[str, Meta(min_length=1, max_length=65 + MAX_PRINCIPAL_BYTES, pattern=PRINTABLE)]
    mark: Annotated[str, Meta(max_length=MAX_MARK, pattern=PRINTABLE)] = ""


class ChangeMembers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The members to add to an apply set and to remove from it. To repeat it changes nothing.

    A set has one member of a kind and a key: the one added last. `remove` ignores `mark`.
    """

    add: Annotated[tuple[SetMember, ...], Meta(max_length=MAX_CHANGES)] = ()
    remove: Annotated[tuple[SetMember, ...], Meta(max_length=MAX_CHANGES)] = ()
