"""An issuer's discovery document (OpenID Connect Discovery 1.0, section 4)."""

from urllib.parse import urlsplit

import msgspec

from byline.caching import Clock
from byline.fetch import AnswerRefused, Fetch
from byline.identity.documents import LastGood, fetch_document
from byline.urls import is_private

DISCOVERY_LIFETIME_SECONDS = 3_600

MAX_SHOWN_CHARACTERS = 200


class IssuerMismatch(AnswerRefused):
    """A discovery document names another issuer than the configured one. The message has both."""


class Metadata(msgspec.Struct, frozen=True):
    """The members of a discovery document that Byline uses. Other members are ignored.

    `jwks_uri` and `userinfo_endpoint` were checked with `require_as_private`. A user of another
    endpoint must check it before its first request.
    """

    issuer: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None


type Discovery = LastGood[Metadata]


def discovery(issuer: str, *, fetch: Fetch, now: Clock) -> Discovery:
    """The discovery document of `issuer`, fetched at its first use and kept for an hour."""

    def load() -> Metadata:
        # A terminating "/" of the issuer is removed first (section 4).
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = fetch_document(url, Metadata, fetch=fetch)
        if metadata.issuer != issuer:
            # Section 4.3. Otherwise one issuer could publish another issuer's keys as its own.
            raise IssuerMismatch(
                f"the discovery document names the issuer {_shown(metadata.issuer)}, and the"
                f" configured issuer is {_shown(issuer)}; they must be the same text"
            )
        require_as_private(metadata.jwks_uri, issuer)
        if metadata.userinfo_endpoint is not None:
            require_as_private(metadata.userinfo_endpoint, issuer)
        return metadata

    return LastGood(load, source="discovery", lifetime=DISCOVERY_LIFETIME_SECONDS, now=now)


def require_as_private(url: str, issuer: str) -> None:
    """Raise `AnswerRefused` unless `url` is https, or http on loopback for an `issuer` on loopback.

    An https issuer must not name an endpoint on loopback, where Lambda's runtime API listens.
    """
    if not is_private(url) or (
        urlsplit(url).scheme != "https" and urlsplit(issuer).scheme == "https"
    ):
        raise AnswerRefused("an endpoint in the discovery document is not https")


def _shown(name: str) -> str:
    """An issuer's name for a message: printable ASCII in quotes, cut where it is long."""
    shown = ascii(name[:MAX_SHOWN_CHARACTERS])
    if len(shown) <= MAX_SHOWN_CHARACTERS and len(name) <= MAX_SHOWN_CHARACTERS:
        return shown
    return f"{shown[: MAX_SHOWN_CHARACTERS - 4]}' ..."
