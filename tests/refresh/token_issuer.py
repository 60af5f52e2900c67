"""A token endpoint on loopback that checks its clients, and fails as a test configures it."""

import json
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from jwt.algorithms import OKPAlgorithm

from tests.identity.loopback import Respond

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def pem_of(key: Any) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()  # type: ignore[no-any-return]


def certificate_of(key: PrivateKey) -> x509.Certificate:
    """A certificate that the key has signed for itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "byline")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2046, 1, 1, tzinfo=UTC))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256())
    )


_VERIFIER = jwt.PyJWT()
_VERIFIER._jws.register_algorithm("Ed25519", OKPAlgorithm())


@dataclass(frozen=True)
class RegisteredClient:
    """A client, and the one `auth_method` that the issuer accepts from it."""

    client_id: str
    auth_method: str
    secret: str = ""
    key: PrivateKey | None = None
    key_id: str = ""


@dataclass(frozen=True)
class Received:
    """A request as it was received."""

    path: str
    headers: dict[str, str]
    form: dict[str, str]


@dataclass
class TokenIssuer:
    """What it gives out, and what it was asked.

    `lifetime`: of its tokens, in seconds. `age`: how old the token is that it hands out, as out of
    a cache. `opaque`: whether its tokens are no JWTs. `respond`: by path, how it answers instead,
    byte by byte. `answer`, `metadata`: members of the token endpoint's answer and of the discovery
    document that are different, None for those that are left out. `issued_for`: the requests of the
    tokens that it gave out. `assertion_audience`: the only `aud` of assertions that it accepts;
    empty for its own name and its token endpoint. `federated`: verifies JWTs of AWS, whose `sub`
    must be the `secret` of a client of `aws_web_identity`.
    """

    url: str = ""
    clients: list[RegisteredClient] = field(default_factory=list)
    lifetime: int = 900
    age: int = 0
    opaque: bool = False
    respond: dict[str, Respond] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    issued_for: dict[str, dict[str, str]] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    assertion_audience: str = ""
    federated: Callable[[str], dict[str, Any]] = lambda _: {}
    assertion_ids: set[str] = field(default_factory=set)
    over: Event = field(default_factory=Event)

    @property
    def issued(self) -> list[str]:
        """The tokens that it gave out."""
        return list(self.issued_for)

    def get(self, path: str) -> tuple[int, Any]:
        """The discovery document."""
        if path != "/.well-known/openid-configuration":
            return 404, {}
        document = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint": f"{self.url}/token",
            "revocation_endpoint": f"{self.url}/revoke",
            **self.metadata,
        }
        return 200, {name: value for name, value in document.items() if value is not None}

    def post(self, request: Received) -> tuple[int, Any]:
        """The answer of the token endpoint, or of the one for revocations."""
        client = self._client(request)
        if client is None:
            return 401, {"error": "invalid_client", "error_description": str(request.form)}
        if request.path == "/revoke":
            self.revoked.append(request.form["token"])
            return 200, {}
        if request.form["grant_type"] != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        token = self._token(client, request.form)
        self.issued_for[token] = request.form
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.lifetime - self.age,
            **self.answer,
        }
        return 200, {name: value for name, value in answer.items() if value is not None}

    def _token(self, client: RegisteredClient, form: dict[str, str]) -> str:
        if self.opaque:
            return f"opaque-token-{len(self.received)}"
        issued = int(time.time()) - self.age
        claims = {
            "iss": self.url,
            "sub": client.client_id,
            "aud": form.get("audience") or form.get("resource") or "byline",
            "scope": form.get("scope", ""),
            "iat": issued,
            "exp": issued + self.lifetime,
        }
        return jwt.encode(claims, ec_key(), algorithm="ES256")

    def _client(self, request: Received) -> RegisteredClient | None:
        for client in self.clients:
            proven = {
                "client_secret_basic": _proves_by_header,
                "client_secret_post": _proves_by_form,
                "private_key_jwt": self._proves_by_assertion,
                "aws_web_identity": self._proves_by_federation,
            }[client.auth_method]
            if proven(client, request):
                return client
        return None

    def _proves_by_federation(self, client: RegisteredClient, request: Received) -> bool:
        """Check a JWT of the account that the client is federated with."""
        form = request.form
        if (form.get("client_id"), form.get("client_assertion_type")) != (
            client.client_id,
            ASSERTION_TYPE,
        ):
            return False
        try:
            claims = self.federated(form["client_assertion"])
        except jwt.InvalidTokenError:
            return False
        return bool(claims["sub"] == client.secret)

    def _proves_by_assertion(self, client: RegisteredClient, request: Received) -> bool:
        """Check an assertion by RFC 7523, section 3, without leeway."""
        assert client.key is not None
        form = request.form
        if (
            form.get("client_assertion_type") != ASSERTION_TYPE
            or "Authorization" in request.headers
        ):
            return False
        try:
            claims = _VERIFIER.decode(
                form["client_assertion"],
                client.key.public_key(),
                algorithms=["RS256", "PS256", "ES256", "Ed25519", "EdDSA"],
                audience=self.assertion_audience or [self.url, f"{self.url}/token"],
                issuer=client.client_id,
                options={"require": ["exp", "iat", "jti", "sub"]},
            )
        except jwt.InvalidTokenError:
            return False
        now = time.time()
        if (
            claims["sub"] != client.client_id
            or claims["exp"] > now + 60
            or claims["iat"] > now - 59
            or claims["jti"] in self.assertion_ids
            or jwt.get_unverified_header(form["client_assertion"]).get("kid", "") != client.key_id
        ):
            return False
        self.assertion_ids.add(claims["jti"])
        return True


def _proves_by_header(client: RegisteredClient, request: Received) -> bool:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic" or {"client_secret", "client_assertion"} & request.form.keys():
        return False
    client_id, _, secret = b64decode(text).decode().partition(":")
    return (unquote_plus(client_id), unquote_plus(secret)) == (client.client_id, client.secret)


def _proves_by_form(client: RegisteredClient, request: Received) -> bool:
    form = request.form
    return "Authorization" not in request.headers and (
        form.get("client_id"),
        form.get("client_secret"),
    ) == (client.client_id, client.secret)


@contextmanager
def serve_issuer(*clients: RegisteredClient) -> Iterator[TokenIssuer]:
    """An issuer on a free port of loopback that knows `clients`."""
    issuer = TokenIssuer(clients=list(clients))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(parse_qs(body, keep_blank_values=True, strict_parsing=True))

        def _answer(self, form: dict[str, list[str]]) -> None:
            assert all(len(values) == 1 for values in form.values())
            single = {name: values[0] for name, values in form.items()}
            request = Received(self.path, dict(self.headers.items()), single)
            issuer.received.append(request)
            self.close_connection = True
            if respond := issuer.respond.get(self.path):
                with suppress(OSError):  # a client that hangs up is what is tested
                    respond(self.connection, issuer.over)
                return
            status, document = issuer.get(self.path) if not form else issuer.post(request)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        issuer.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield issuer
        finally:
            issuer.over.set()
            server.shutdown()
            thread.join()
