"""The attributes of `RunsTable` that registration names in its calls.

Its role can be limited to them (`dynamodb:Attributes`): it needs no others of a run.
"""

READ_ATTRIBUTES = (
    "agent",
    "creator_issuer",
    "creator_service_account_id",
    "creator_user_id",
    "kept_until",
    "last_request",
    "person",
    "person_inherited",
    "unregistered",
    "unregistered_since",
)
"""The attributes that it reads of a run, a tombstone or a revocation, beside the key."""

OUTBOX_ATTRIBUTES = (
    "deregistered_at",
    "expires_at",
    "registered_at",
    "registration_error",
    "revoked_at",
    "unregistered",
    "unregistered_since",
)
"""The attributes that it sets or removes in these rows."""

OWN_ATTRIBUTES = ("claimed_by", "claimed_until", "doubt_until", "expires_at", "paused_until")
"""The attributes of its own rows: claims and the pause."""

NAMED_ATTRIBUTES = frozenset(
    {"project", "id", *READ_ATTRIBUTES, *OUTBOX_ATTRIBUTES, *OWN_ATTRIBUTES}
)
"""All of them, with the key."""
