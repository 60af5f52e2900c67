"""An OpenID provider outside this machine, from the environment of `make up`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from local.openid_provider import AUDIENCE

PROFILE = "generic"


@dataclass(frozen=True, slots=True)
class OutsideProvider:
    """A provider in place of our own. `profile`: the profile of `TRUSTED_ISSUERS`."""

    issuer: str
    client_id: str
    client_secret: str
    audience: str = AUDIENCE
    profile: str = PROFILE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self | None:
        """The provider of the LOCAL_OIDC_… variables; None if none is set.

        Raises `ValueError` if only some of the required variables are set.
        """
        names = ("LOCAL_OIDC_ISSUER", "LOCAL_OIDC_CLIENT_ID", "LOCAL_OIDC_CLIENT_SECRET")
        values = [environment.get(name, "") for name in names]
        if not any(values):
            return None
        missing = [name for name, value in zip(names, values, strict=True) if not value]
        if missing:
            raise ValueError(
                f"{' and '.join(missing)} must be set too, for a provider from outside"
            )
        issuer, client_id, client_secret = values
        return cls(
            issuer,
            client_id,
            client_secret,
            audience=environment.get("LOCAL_AUDIENCE") or AUDIENCE,
            profile=environment.get("LOCAL_PROFILE") or PROFILE,
        )
