"""Reading the secret of an OAuth client: how it proves itself, and to whom.

The secret holds a JSON object, whose members `docs/settings.md` describes. `auth_method` decides
how a client proves itself, and nothing is negotiated: an issuer could otherwise make us send a
secret where a signature was meant. Errors name members and never quote their values.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote_plus, urlsplit

import msgspec

from byline.urls import is_private
from refresh_tokens.errors import RefreshFailed

if TYPE_CHECKING:
    from refresh_tokens.assertions import PrivateKeyJwt
    from refresh_tokens.web_identity import WebIdentity

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Proof:
    """The client's authentication in a token request: headers, and members of the form."""

    headers: dict[str, str]
    form: dict[str, str]

    def __repr__(self) -> str:
        return "<proof of a client>"


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """`client_secret_basic` or `client_secret_post` (RFC 6749, section 2.3.1)."""

    client_id: str
    secret: str = field(repr=False)
    method: Literal["client_secret_basic", "client_secret_post"]

    def prove(self, *, audience: str, now: float) -> Proof:
        """The proof, which is the same for every `audience` at any time."""
        if self.method == "client_secret_post":
            return Proof({}, {"client_id": self.client_id, "client_secret": self.secret})
        # Both parts are form-encoded first, because either may hold a colon. For an issuer that
        # does not decode them, the client's `auth_method` must be client_secret_post.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
        return Proof({"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """A client's credentials, and its token endpoint or its issuer; the other one is empty."""

    token_endpoint: str
    issuer: str
    authentication: "SharedSecret | PrivateKeyJwt | WebIdentity"


class Members(msgspec.Struct, frozen=True):
    """The secret's members. All are optional here, so that errors are in our own words."""

    client_id: str = ""
    auth_method: str = ""
    token_endpoint: str = ""
    issuer: str = ""
    client_secret: str = ""
    private_key_pem: str = ""
    certificate_pem: str = ""
    key_id: str = ""
    assertion_audience: str = ""
    assertion_algorithm: str = ""

    def __repr__(self) -> str:
        return "<client secret>"


_SEVERAL_LINES = frozenset({"private_key_pem", "certificate_pem"})

_OF_SHARED_SECRETS = frozenset({"client_secret"})
_OF_PRIVATE_KEYS = frozenset(
    {"private_key_pem", "certificate_pem", "key_id", "assertion_audience", "assertion_algorithm"}
)
_OF_METHOD = {
    "client_secret_basic": _OF_SHARED_SECRETS,
    "client_secret_post": _OF_SHARED_SECRETS,
    "private_key_jwt": _OF_PRIVATE_KEYS,
    "aws_web_identity": frozenset({"assertion_audience", "assertion_algorithm"}),
}
"""The members that each `auth_method` has beside those of every client."""


def read_client_secret(text: str) -> ClientSecret:
    """The client of a secret's text. Raises `RefreshFailed` (`client_secret_unusable`)."""
    members = _members(text)
    if not members.client_id:
        raise unusable("has no `client_id`")
    if bool(members.token_endpoint) == bool(members.issuer):
        raise unusable("needs either `token_endpoint` or `issuer`")
    _require_address(members)
    return ClientSecret(
        token_endpoint=members.token_endpoint,
        issuer=members.issuer,
        authentication=_authentication(members),
    )


def unusable(detail: str) -> RefreshFailed:
    """The error of a client secret that cannot be used: `detail` continues a sentence."""
    return RefreshFailed("client_secret_unusable", f"the client secret {detail}")


def _members(text: str) -> Members:
    """The members of the JSON object in `text`. White space and a byte order mark around it pass.

    Every error is raised outside of `except`: a JSON reader's error may carry the text.
    """
    stripped = text.strip().strip("\ufeff").strip()
    if not stripped:
        raise unusable("is empty, or is stored as binary and not as text")
    document = _json(stripped)
    if isinstance(document, str) and isinstance(_json(document), dict):
        raise unusable("is a JSON text that holds an object: store the object itself")
    if not isinstance(document, dict):
        raise unusable("is not a JSON object: check quotes, commas and line ends within texts")
    known = Members.__struct_fields__
    for member, value in document.items():
        if member not in known:
            raise unusable(f"has a member that is not known. Members: {', '.join(known)}")
        if value is not None and not isinstance(value, str):
            raise unusable(f"needs text in `{member}`")
        if member not in _SEVERAL_LINES and value and not _is_visible(value):
            raise unusable(
                f"has a blank, a line end, or a control or invisible character in `{member}`"
            )
    return Members(**{member: value for member, value in document.items() if value is not None})


def _json(text: str) -> Any:
    """The JSON value of `text`; None for other text."""
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _is_visible(text: str) -> bool:
    """Whether `text` has only characters that one sees. A blank is easily pasted with a value."""
    return text.isprintable() and " " not in text


def _require_address(members: Members) -> None:
    member = "issuer" if members.issuer else "token_endpoint"
    url = members.issuer or members.token_endpoint
    if "{" in url or "}" in url:
        raise unusable(f"has a placeholder in `{member}`: write its value in place of the braces")
    if not is_private(url):
        raise unusable(f"needs an https address in `{member}` (http only on loopback)")
    parts = urlsplit(url)
    if parts.fragment or (members.issuer and parts.query):
        # OpenID Connect Discovery 1.0, section 3; RFC 6749, section 3.2.
        raise unusable(f"has a query or a fragment in `{member}`")


def _authentication(members: Members) -> "SharedSecret | PrivateKeyJwt | WebIdentity":
    method = members.auth_method
    if method not in _OF_METHOD:
        known = ", ".join(_OF_METHOD)
        raise unusable(f"{'has another' if method else 'has no'} `auth_method`. Methods: {known}")
    for member in sorted(frozenset().union(*_OF_METHOD.values()) - _OF_METHOD[method]):
        if getattr(members, member):
            raise unusable(f"has a `{member}`, which {method} does not have")
    match method:
        case "client_secret_basic" | "client_secret_post" as shared:
            if not members.client_secret:
                raise unusable(f"has no `client_secret`, which {method} needs")
            return SharedSecret(members.client_id, members.client_secret, shared)
        case "aws_web_identity":
            from refresh_tokens.web_identity import WebIdentity  # noqa: PLC0415

            return WebIdentity.of(members)
        case _:
            # Loaded for the clients that sign: a JWT library costs 166 ms of a cold start.
            from refresh_tokens.assertions import PrivateKeyJwt  # noqa: PLC0415

            return PrivateKeyJwt.of(members)
