"""An issuer of identity tokens for CI jobs, with the endpoints and claims of GitHub Actions.

A job asks the address in its variable ACTIONS_ID_TOKEN_REQUEST_URL, with a secret of its own.
https://docs.github.com/en/actions/reference/security/oidc
"""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import RSAKey

LIFETIME_SECONDS = 300
PATH = "/ci"


@dataclass(frozen=True, slots=True)
class Job:
    """A running job: the address and the secret with which it asks for its token."""

    request_url: str
    request_token: str = field(repr=False)


class CIIssuer:
    """The issuer. `base`: the address of the server that serves its `routes`."""

    def __init__(self, base: str) -> None:
        self.issuer = f"{base}{PATH}"
        self._key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        self._jobs: dict[str, dict[str, Any]] = {}
        self.routes = Blueprint("ci", __name__, url_prefix=PATH)
        for rule, view in (
            ("/.well-known/openid-configuration", self._discovery),
            ("/.well-known/jwks", self._key_set),
            ("/token", self._token),
        ):
            self.routes.add_url_rule(rule, view_func=view)

    def start_job(self, repository: str, *, workflow: str, actor: str, ref: str = "main") -> Job:
        """Start a job of a branch. `actor`: the login of the person who pushed to it."""
        owner = repository.partition("/")[0]
        token = secrets.token_urlsafe(24)
        self._jobs[token] = {
            "sub": f"repo:{repository}:ref:refs/heads/{ref}",
            "repository": repository,
            "repository_owner": owner,
            "ref": f"refs/heads/{ref}",
            "ref_type": "branch",
            "sha": secrets.token_hex(20),
            "workflow": workflow,
            "job_workflow_ref": f"{repository}/.github/workflows/{workflow}.yml@refs/heads/{ref}",
            "event_name": "push",
            "actor": actor,
            "run_id": str(1_000 + len(self._jobs)),
            "run_number": "1",
            "run_attempt": "1",
            "runner_environment": "github-hosted",
        }
        return Job(f"{self.issuer}/token?api-version=2.0", token)

    def _token(self) -> tuple[Response, int] | Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        job = self._jobs.get(given)
        if scheme.lower() != "bearer" or job is None:
            return jsonify(message="no job has this request token"), 401
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": request.args.get("audience") or f"https://github.com/{job['repository_owner']}",
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME_SECONDS,
            "jti": secrets.token_hex(16),
            **job,
        }
        return jsonify(value=jwt.encode({"alg": "RS256", "kid": self._key.kid}, claims, self._key))

    def _discovery(self) -> Response:
        return jsonify(
            issuer=self.issuer,
            jwks_uri=f"{self.issuer}/.well-known/jwks",
            response_types_supported=["id_token"],
            subject_types_supported=["public", "pairwise"],
            id_token_signing_alg_values_supported=["RS256"],
        )

    def _key_set(self) -> Response:
        return jsonify(keys=[self._key.as_dict(private=False)])
