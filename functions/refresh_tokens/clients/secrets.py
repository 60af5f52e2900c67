"""An OAuth client's credentials, as the secret `byline/clients/{project}/{name}` holds them.

    {"token_endpoint" | "issuer", "client_id", "auth_method", "client_secret" | "private_key_pem",
     "key_id"?}

How a client proves itself is pinned by `auth_method`, and never negotiated: an issuer could
otherwise talk us into sending a secret where a signature was meant.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import msgspec

from byline.errors import Misconfigured
from byline.settings import require_https
from refresh_tokens.errors import RefreshFailed

if TYPE_CHECKING:
    from refresh_tokens.clients.assertions import AssertionKey

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secret's members. All optional here, so that what is wrong is said in words of ours."""

    client_id: str = ""
    auth_method: str = ""
    token_endpoint: str = ""
    issuer: str = ""
    client_secret: str = ""
    private_key_pem: str = ""
    key_id: str = ""

    def __repr__(self) -> str:
        return "<client secret>"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request carries to prove the client: headers, and members of its form."""

    headers: dict[str, str]
    form: dict[str, str]

    def __repr__(self) -> str:
        return "<proof of a client>"


@dataclass(frozen=True, slots=True)
class SecretBasic:
    """`client_secret_basic` (RFC 6749, section 2.3.1)."""

    client_id: str
    secret: str

    def __repr__(self) -> str:
        return "<client_secret_basic>"

    def prove(self, *, audience: str, now: float) -> Proof:
        """The proof. Both parts are form-encoded first: either may hold a colon."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
        return Proof({"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}, {})


@dataclass(frozen=True, slots=True)
class SecretPost:
    """`client_secret_post` (RFC 6749, section 2.3.1)."""

    client_id: str
    secret: str

    def __repr__(self) -> str:
        return "<client_secret_post>"

    def prove(self, *, audience: str, now: float) -> Proof:
        """The proof."""
        return Proof({}, {"client_id": self.client_id, "client_secret": self.secret})


@dataclass(frozen=True, slots=True)
class PrivateKeyJwt:
    """`private_key_jwt` (RFC 7523, section 2.2; OpenID Connect Core 1.0, section 9)."""

    client_id: str
    key: "AssertionKey"

    def prove(self, *, audience: str, now: float) -> Proof:
        """The proof: a new assertion each time, for the token endpoint `audience`."""
        return Proof(
            {},
            {
                "client_id": self.client_id,
                "client_assertion_type": _ASSERTION_TYPE,
                "client_assertion": self.key.assertion(self.client_id, audience=audience, now=now),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """A client and where it gets its tokens: at `token_endpoint`, or where `issuer` says.

    Exactly one of the two is not empty.
    """

    token_endpoint: str
    issuer: str
    authentication: SecretBasic | SecretPost | PrivateKeyJwt


def read_client_secret(text: str) -> ClientSecret:
    """The client of a secret's text. Raises `RefreshFailed` (`client_secret_unusable`)."""
    document = _document(text)
    if not document.client_id:
        raise _unusable("has no `client_id`")
    if bool(document.token_endpoint) == bool(document.issuer):
        raise _unusable("needs either `token_endpoint` or `issuer`")
    _require_private("token_endpoint", document.token_endpoint)
    _require_private("issuer", document.issuer)
    return ClientSecret(
        token_endpoint=document.token_endpoint,
        issuer=document.issuer,
        authentication=_authentication(document),
    )


def _document(text: str) -> _Document:
    try:
        return msgspec.json.decode(text.encode(), type=_Document)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        # Refused outside the handler: errors may carry the text.
        pass
    raise _unusable("is not a JSON object of texts, or has members that are not known")


def _require_private(member: str, url: str) -> None:
    if not url:
        return
    try:
        require_https(member, url)
    except Misconfigured:
        pass
    else:
        return
    raise _unusable(f"`{member}` must be https (http only on loopback)")


def _authentication(document: _Document) -> SecretBasic | SecretPost | PrivateKeyJwt:
    match document.auth_method:
        case "client_secret_basic":
            return SecretBasic(document.client_id, _shared_secret(document))
        case "client_secret_post":
            return SecretPost(document.client_id, _shared_secret(document))
        case "private_key_jwt":
            return PrivateKeyJwt(document.client_id, _private_key(document))
        case _:
            raise _unusable("has an `auth_method` that is not known")


def _shared_secret(document: _Document) -> str:
    if not document.client_secret or document.private_key_pem or document.key_id:
        raise _unusable("needs a `client_secret`, and no key, for its `auth_method`")
    return document.client_secret


def _private_key(document: _Document) -> "AssertionKey":
    # Loaded for the clients that sign: a JWT library costs 166 ms of a cold start.
    from refresh_tokens.clients.assertions import AssertionKey  # noqa: PLC0415

    if not document.private_key_pem or document.client_secret:
        raise _unusable("needs a `private_key_pem`, and no `client_secret`, for private_key_jwt")
    return AssertionKey.of_pem(document.private_key_pem, key_id=document.key_id)


def _unusable(detail: str) -> RefreshFailed:
    return RefreshFailed("client_secret_unusable", f"the client secret {detail}")
