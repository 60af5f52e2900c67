"""Token exchange at the local OpenID provider: an agent gets a token to act for a person.

The token's `sub` is the person, and its `act` is the agent (RFC 8693, sections 2.1 and 4.1).
"""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin

from local.openid_directory import EXCHANGE, IssuedToken
from local.openid_grants import AUTH_METHODS, Ledger

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def exchange_grant(ledger: Ledger) -> type[BaseGrant]:
    """The grant by which a client exchanges a person's access token, and becomes its actor."""

    class ExchangeGrant(BaseGrant, TokenEndpointMixin):
        GRANT_TYPE = EXCHANGE
        TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

        def validate_token_request(self) -> None:
            client = self.authenticate_token_endpoint_client()
            if not client.check_grant_type(EXCHANGE):
                raise UnauthorizedClientError
            asked = self.request.form
            if asked.get("subject_token_type") != ACCESS_TOKEN:
                raise InvalidRequestError(f"`subject_token_type` must be {ACCESS_TOKEN}.")
            self.request.client = client
            self._subject = _live(ledger.token(asked.get("subject_token", "")))
            self.request.user = self._subject.person

        def create_token_response(self) -> Any:
            token = self.generate_token(
                user=self.request.user, scope=self._subject.scope, include_refresh_token=False
            )
            ledger.keep_token(token, self.request)
            answer = {**token, "issued_token_type": ACCESS_TOKEN}
            return 200, answer, self.TOKEN_RESPONSE_HEADER

    return ExchangeGrant


def _live(token: IssuedToken | None) -> IssuedToken:
    """A person's token that has not ended. Raises `InvalidGrantError`."""
    if token is None or token.person is None or token.is_expired() or token.is_revoked():
        raise InvalidGrantError("`subject_token` is no live token of a person.")
    return token
