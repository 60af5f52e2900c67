"""Reading the secret of an OAuth client: how it proves itself, and to whom.

The secret holds a JSON object, which docs/client-secret.schema.json describes. `auth_method`
decides how a client proves itself, and nothing is negotiated: an issuer could otherwise make us
send a secret where a signature was meant. Errors name members and never quote their values.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
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


_SHARED_SECRET = frozenset({"client_secret"})
_ASSERTION = frozenset({"assertion_audience", "assertion_algorithm"})

MEMBERS_OF_METHOD: Mapping[str, frozenset[str]] = {
    "client_secret_basic": _SHARED_SECRET,
    "client_secret_post": _SHARED_SECRET,
    "private_key_jwt": _ASSERTION | {"private_key_pem", "certificate_pem", "key_id"},
    "aws_web_identity": _ASSERTION,
}
"""The members that each `auth_method` has beside those of every client."""

_NEEDED = {
    "client_secret_basic": "client_secret",
    "client_secret_post": "client_secret",
    "private_key_jwt": "private_key_pem",
}
_SEVERAL_LINES = frozenset({"private_key_pem", "certificate_pem"})
_OF_RUNNERS = frozenset({"scope", "audience", "resource"})

_BLANK = re.compile(
    "[ \u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""A blank, and what Unicode counts as printable although it shows nothing."""

_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9a-f:.]+")


def read_client_secret(text: str) -> ClientSecret:
    """The client of a secret's text. Raises `RefreshFailed` (`client_secret_unusable`)."""
    members = _members(text)
    if not members.client_id:
        raise unusable("has no `client_id`")
    if members.token_endpoint and members.issuer:
        raise unusable("has both `token_endpoint` and `issuer`: keep one of them")
    if not members.token_endpoint and not members.issuer:
        raise unusable("has neither `token_endpoint` nor `issuer`: write one of them")
    _require_address(members)
    _require_members_of_method(members)
    return ClientSecret(
        token_endpoint=members.token_endpoint,
        issuer=members.issuer,
        authentication=_authentication(members),
    )


def unusable(detail: str) -> RefreshFailed:
    """The error of a client secret that cannot be used: `detail` continues a sentence."""
    return RefreshFailed("client_secret_unusable", f"The client secret {detail}.")


def _members(text: str) -> Members:
    """The members of the JSON object in `text`. White space and a byte order mark around it pass.

    Every error is raised outside of `except`: a JSON reader's error may carry the text.
    """
    stripped = text.strip().strip("\ufeff").strip()
    if not stripped:
        raise unusable("is empty, or is stored as binary and not as text")
    document = _json(stripped)
    if isinstance(document, str) and isinstance(_json(document), _Object):
        raise unusable("is a JSON text that holds an object: store the object itself")
    if not isinstance(document, _Object):
        raise unusable("is not a JSON object: check quotes, commas and line ends within texts")
    found: dict[str, str] = {}
    for number, (member, value) in enumerate(document, start=1):
        if member not in Members.__struct_fields__:
            raise unusable(_unknown(member, number))
        if member in found:
            raise unusable(f"has `{member}` twice")
        if value is not None and not isinstance(value, str):
            raise unusable(f"needs text in `{member}`")
        found[member] = value or ""
        if member not in _SEVERAL_LINES and not _is_visible(found[member]):
            raise unusable(
                f"has a blank, a line end, or a control or invisible character in `{member}`"
            )
    return Members(**found)


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its members, so that none hides another one of the same name."""


def _json(text: str) -> Any:
    """The JSON value of `text`; None for other text."""
    try:
        return json.loads(text, object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        return None


def _is_visible(text: str) -> bool:
    """Whether `text` has only characters that one sees. Others are easily pasted with a value."""
    return text.isprintable() and _BLANK.search(text) is None


def _unknown(member: str, number: int) -> str:
    """What is wrong with the member at place `number`, whose name is not known.

    The name is not quoted: it may be a secret in the wrong place.
    """
    if member in _OF_RUNNERS:
        return f"has a `{member}`: register the runner with it"
    known = Members.__struct_fields__
    plain = re.sub("[^a-z]", "", member.lower())
    for name in known:
        if plain == name.replace("_", ""):
            return f"has a member that must be spelled `{name}`"
    return f"has another member at place {number}. Members: {', '.join(known)}"


def _require_address(members: Members) -> None:
    member = "issuer" if members.issuer else "token_endpoint"
    url = members.issuer or members.token_endpoint
    if re.search("[{}<>]", url):
        raise unusable(f"has a placeholder in `{member}`: write its value in place of it")
    if not is_private(url):
        raise unusable(f"needs an https address in `{member}` (http only on loopback)")
    if not url.isascii() or _HOST.fullmatch(urlsplit(url).hostname or "") is None:
        raise unusable(f"has a character in `{member}` that no address has")
    if "#" in url or (members.issuer and "?" in url):
        # OpenID Connect Discovery 1.0, section 3; RFC 6749, section 3.2.
        raise unusable(f"has a query or a fragment in `{member}`")


def _require_members_of_method(members: Members) -> None:
    method = members.auth_method
    if method not in MEMBERS_OF_METHOD:
        known = ", ".join(MEMBERS_OF_METHOD)
        raise unusable(f"{'has another' if method else 'has no'} `auth_method`. Methods: {known}")
    for member in sorted(
        frozenset().union(*MEMBERS_OF_METHOD.values()) - MEMBERS_OF_METHOD[method]
    ):
        if getattr(members, member):
            raise unusable(f"has a `{member}`, which {method} does not have")
    needed = _NEEDED.get(method)
    if needed is not None and not getattr(members, needed):
        raise unusable(f"has no `{needed}`, which {method} needs")


def _authentication(members: Members) -> "SharedSecret | PrivateKeyJwt | WebIdentity":
    match members.auth_method:
        case "client_secret_basic" | "client_secret_post" as method:
            return SharedSecret(members.client_id, members.client_secret, method)
        case "aws_web_identity":
            from refresh_tokens.web_identity import WebIdentity  # noqa: PLC0415

            return WebIdentity.of(members)
        case _:
            # Loaded for the clients that sign: a JWT library costs 166 ms of a cold start.
            from refresh_tokens.assertions import PrivateKeyJwt  # noqa: PLC0415

            return PrivateKeyJwt.of(members)
