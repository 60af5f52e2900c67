"""The listener rule for programs: forward the request unchanged, after `jwt-validation` or without.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-verify-jwt.html
As there: RS256 only; signature, `iss` and `exp`, and `nbf` and `iat` where they are; no audience.
So an ID token passes, and a token for somebody else: the function has to check again.
"""

from functools import cached_property
from http import HTTPStatus

import jwt

from local.load_balancer_events import Reply, Request, plain
from local.openid_client import OpenIDClient, ProviderFailed

SCHEME = "bearer "


def has_bearer(request: Request) -> bool:
    """Whether the request has a header `Authorization: Bearer *`, in any case."""
    return any(value.lower().startswith(SCHEME) for value in request.values("authorization"))


class ForwardRule:
    """Forwards each request, as the template's rule does without `BearerIssuer`."""

    @staticmethod
    def apply(request: Request) -> Request | Reply:
        """The unchanged request."""
        return request


class BearerRule:
    """Forwards requests with a valid token of the issuer of `openid`."""

    def __init__(self, openid: OpenIDClient) -> None:
        self._openid = openid

    @cached_property
    def _keys(self) -> jwt.PyJWKClient:
        return jwt.PyJWKClient(str(self._openid.discovery["jwks_uri"]))

    def apply(self, request: Request) -> Request | Reply:
        """The unchanged request to forward, or the reply to send instead.

        Of several such headers the first is checked and all are forwarded: which one the real one
        checks is not documented, so the function must not rely on it.
        """
        credentials = (
            value for value in request.values("authorization") if value.lower().startswith(SCHEME)
        )
        token = next(credentials)[len(SCHEME) :].strip()
        try:
            jwt.decode(
                token,
                self._keys.get_signing_key_from_jwt(token).key,
                algorithms=["RS256"],
                issuer=self._openid.issuer,
                options={"require": ["exp", "iss"], "verify_aud": False},
            )
        except (jwt.PyJWKClientConnectionError, ProviderFailed):
            return plain(HTTPStatus.INTERNAL_SERVER_ERROR, "could not fetch the issuer's keys")
        except jwt.PyJWTError:
            # The library's messages may quote the token.
            return plain(HTTPStatus.UNAUTHORIZED, "the token is not valid")
        return request
