"""An OpenID provider for one machine: pages and endpoints on Authlib's OAuth 2.0 server.

Whoever reaches it can be anybody it knows, by one click and without a password. It listens on
loopback, and its keys live as long as its process.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector
from authlib.oauth2 import OAuth2Error
from flask import Flask, Response, jsonify, render_template_string, request
from flask.typing import ResponseReturnValue
from joserfc.jwk import RSAKey

from local.ci_issuer import CIIssuer
from local.openid_devices import (
    DEVICE_CODE_GRANT_TYPE,
    DeviceCodes,
    device_endpoint,
    device_grant,
)
from local.openid_directory import EXCHANGE, SCOPES, Directory, OAuthClient, Person
from local.openid_grants import (
    AUTH_METHODS,
    AccessTokens,
    ClientAssertions,
    IdToken,
    IssuedTokens,
    Ledger,
    MachineGrant,
    ProofKey,
    code_grant,
    refresh_grant,
    revocation,
)
from local.openid_pages import DEVICE_PAGE, ERROR_PAGE, SIGN_IN_PAGE
from local.token_exchange import exchange_grant

BROWSER_CLIENT = "byline-browser"
CLI_CLIENT = "byline-cli"
AUDIENCE = "byline"
LIFETIME_SECONDS = 900
SHORT_LIFETIME_SECONDS = 30
"""The lifetime of the tokens of `short-lived`, in seconds, so that a person can watch a refresh.
The refresher accepts no shorter one."""

ADA = Person("user-1815", "Ada", "Lovelace", "ada@example.com")
GRACE = Person("user-1906", "Grace", "Hopper", "grace@example.com")
MARGARET = Person("user-1936", "Margaret", "Hamilton", "margaret@example.com")


class OpenIDProvider:
    """The provider at `issuer`. It publishes the public JWKs `extra_keys` beside its own."""

    def __init__(
        self,
        issuer: str,
        *,
        extra_keys: Sequence[Mapping[str, Any]] = (),
        lifetime_seconds: int = LIFETIME_SECONDS,
    ) -> None:
        self.issuer = issuer
        self.browser_secret = secrets.token_urlsafe(24)
        self.assertion_key = RSAKey.generate_key(2048, auto_kid=True)
        """The key with which `weekly-report` signs its assertions."""
        self.signing_key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        """The key with which the provider signs its tokens."""
        self._extra_keys = extra_keys
        self.directory = Directory(people=(ADA, GRACE, MARGARET), clients=self._clients())
        self.ci = CIIssuer(issuer)
        """The issuer of CI jobs' tokens, on the same server."""
        self._ledger = Ledger()
        self._devices = DeviceCodes()
        self._server = self._authorization_server(lifetime_seconds)
        self._protector = ResourceProtector()
        self._protector.register_token_validator(IssuedTokens(self._ledger))
        self.application = self._application()

    def _clients(self) -> Sequence[OAuthClient]:
        return (
            OAuthClient(
                client_id=BROWSER_CLIENT,
                grant="authorization_code",
                auth_methods=("client_secret_basic", "client_secret_post"),
                audience=AUDIENCE,
                secret=self.browser_secret,
                redirect_path="/oauth2/idpresponse",
            ),
            OAuthClient(
                client_id=CLI_CLIENT,
                grant="authorization_code",
                more_grants=("refresh_token", DEVICE_CODE_GRANT_TYPE),
                auth_methods=("none",),
                audience=AUDIENCE,
                redirect_path="/callback",
            ),
            OAuthClient(
                client_id="nightly-train",
                grant="client_credentials",
                auth_methods=("client_secret_basic", "client_secret_post"),
                audience=AUDIENCE,
                secret="nightly-train-secret",
            ),
            OAuthClient(
                client_id="assistant",
                grant="client_credentials",
                auth_methods=("client_secret_basic", "client_secret_post"),
                audience=AUDIENCE,
                secret="assistant-secret",
            ),
            OAuthClient(
                client_id="planner",
                grant=EXCHANGE,
                auth_methods=("client_secret_basic", "client_secret_post"),
                audience=AUDIENCE,
                secret="planner-secret",
            ),
            OAuthClient(
                client_id="short-lived",
                grant="client_credentials",
                auth_methods=("client_secret_basic", "client_secret_post"),
                audience=AUDIENCE,
                secret="short-lived-secret",
                lifetime_seconds=SHORT_LIFETIME_SECONDS,
            ),
            OAuthClient(
                client_id="weekly-report",
                grant="client_credentials",
                auth_methods=("private_key_jwt",),
                audience=AUDIENCE,
                public_key=RSAKey.import_key(self.assertion_key.as_dict(private=False)),
            ),
            OAuthClient(
                client_id="warehouse",
                grant="client_credentials",
                auth_methods=("client_secret_basic", "client_secret_post"),
                audience="warehouse",
                secret="warehouse-secret",
            ),
        )

    def _authorization_server(self, lifetime_seconds: int) -> Any:
        server = AuthorizationServer(
            query_client=self.directory.client, save_token=self._ledger.keep_token
        )
        tokens = AccessTokens(self.issuer, self.signing_key, lifetime_seconds=lifetime_seconds)
        server.register_token_generator("default", tokens)
        server.register_grant(
            code_grant(self.directory, self._ledger),
            [ProofKey(), IdToken(self.issuer, self.signing_key)],
        )
        server.register_grant(MachineGrant)
        server.register_grant(exchange_grant(self._ledger))
        server.register_grant(refresh_grant(self._ledger))
        server.register_grant(device_grant(self._devices))
        device_authorization: Any = device_endpoint(self._devices, f"{self.issuer}/device")
        server.register_endpoint(device_authorization)
        server.register_client_auth_method(
            "private_key_jwt",
            ClientAssertions(self._ledger, [self.issuer, f"{self.issuer}/token"]),
        )
        server.register_endpoint(revocation(self._ledger))
        return server

    def _application(self) -> Flask:
        application = Flask("local.openid_provider", static_folder=None)
        application.register_blueprint(self.ci.routes)
        for rule, view, methods in (
            ("/.well-known/openid-configuration", self._discovery, ["GET"]),
            ("/jwks.json", self._key_set, ["GET"]),
            ("/authorize", self._authorize, ["GET", "POST"]),
            ("/token", self._token, ["POST"]),
            ("/device_authorization", self._authorize_device, ["POST"]),
            ("/device", self._device, ["GET", "POST"]),
            ("/userinfo", self._userinfo, ["GET", "POST"]),
            ("/revoke", self._revoke, ["POST"]),
        ):
            application.add_url_rule(rule, view_func=view, methods=methods)
        return application

    def _discovery(self) -> Response:
        """OpenID Connect Discovery 1.0, section 3."""
        return jsonify(
            issuer=self.issuer,
            authorization_endpoint=f"{self.issuer}/authorize",
            token_endpoint=f"{self.issuer}/token",
            userinfo_endpoint=f"{self.issuer}/userinfo",
            revocation_endpoint=f"{self.issuer}/revoke",
            device_authorization_endpoint=f"{self.issuer}/device_authorization",
            jwks_uri=f"{self.issuer}/jwks.json",
            response_types_supported=["code"],
            grant_types_supported=[
                "authorization_code",
                "client_credentials",
                EXCHANGE,
                "refresh_token",
                DEVICE_CODE_GRANT_TYPE,
            ],
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=["RS256"],
            token_endpoint_auth_methods_supported=[*AUTH_METHODS, "none"],
            token_endpoint_auth_signing_alg_values_supported=["RS256"],
            code_challenge_methods_supported=["S256"],
            scopes_supported=SCOPES,
        )

    def _key_set(self) -> Response:
        return jsonify(keys=[self.signing_key.as_dict(private=False), *self._extra_keys])

    def _authorize(self) -> ResponseReturnValue:
        person = self.directory.person(request.form.get("person", ""))
        try:
            grant = self._server.get_consent_grant(end_user=person)
        except OAuth2Error as error:
            return render_template_string(ERROR_PAGE, error=error.error), 400
        if person is None:
            return render_template_string(
                SIGN_IN_PAGE,
                client=grant.client.client_id,
                issuer=self.issuer,
                people=self.directory.people,
            )
        answer: Response = self._server.create_authorization_response(
            grant=grant, grant_user=person
        )
        return answer

    def _token(self) -> ResponseReturnValue:
        answer: Response = self._server.create_token_response()
        return answer

    def _revoke(self) -> ResponseReturnValue:
        answer: Response = self._server.create_endpoint_response("revocation")
        return answer

    def _authorize_device(self) -> ResponseReturnValue:
        answer: Response = self._server.create_endpoint_response("device_authorization")
        return answer

    def _device(self) -> ResponseReturnValue:
        """The page on which a person approves a device (RFC 8628, section 3.3)."""
        code = request.values.get("user_code", "").strip().upper()
        client = self._devices.waiting_client(code)
        if code and client is None:
            return render_template_string(ERROR_PAGE, error="This code is not valid."), 400
        if request.method == "POST":
            self._devices.answer(code, self.directory.person(request.form.get("person", "")))
        return render_template_string(
            DEVICE_PAGE,
            code=code,
            client=client,
            is_done=request.method == "POST",
            people=self.directory.people,
        )

    def _userinfo(self) -> ResponseReturnValue:
        """OpenID Connect Core 1.0, section 5.3."""
        with self._protector.acquire("openid") as token:
            return jsonify(token.get_user().userinfo(token.get_scope()))
