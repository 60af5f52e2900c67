"""Sign-in on a device without a browser (RFC 8628), on Authlib's OAuth 2.0 server."""

import time
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc8628 import (
    DEVICE_CODE_GRANT_TYPE,
    DeviceAuthorizationEndpoint,
    DeviceCodeGrant,
    DeviceCredentialMixin,
)

from local.openid_directory import Person

__all__ = ["DEVICE_CODE_GRANT_TYPE", "DeviceCodes", "device_endpoint", "device_grant"]

CODE_SECONDS = 300
POLL_SECONDS = 1
AUTH_METHODS = ["none"]


@dataclass(frozen=True, slots=True)
class DeviceRequest(DeviceCredentialMixin):
    """The request of a device. Authlib calls its methods."""

    client_id: str
    scope: str
    user_code: str
    expires_at: float

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at


class DeviceCodes:
    """The requests of devices, and what people answered to them."""

    def __init__(self) -> None:
        self._requests: dict[str, DeviceRequest] = {}
        self._answers: dict[str, tuple[Person | None, bool]] = {}
        self._polled: dict[str, float] = {}

    def keep(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
        """Remember a device's request."""
        expires_at = time.time() + data["expires_in"]
        self._requests[data["device_code"]] = DeviceRequest(
            client_id, scope, data["user_code"], expires_at
        )

    def waiting_client(self, user_code: str) -> str | None:
        """The client that waits with a code, as a person typed it; None for an unknown code."""
        for request in self._requests.values():
            is_open = not request.is_expired() and request.user_code not in self._answers
            if request.user_code == user_code and is_open:
                return request.client_id
        return None

    def answer(self, user_code: str, person: Person | None) -> None:
        """Let the device sign in as `person`; None refuses it."""
        self._answers[user_code] = (person, person is not None)

    def request(self, device_code: str) -> DeviceRequest | None:
        """The request with a device code; None for an unknown one."""
        return self._requests.get(device_code)

    def answer_to(self, user_code: str) -> tuple[Person | None, bool] | None:
        """What a person answered; None if nobody did yet."""
        return self._answers.get(user_code)

    def forget_user_code(self, user_code: str) -> None:
        """Let the codes of a device be used once."""
        for device_code, request in list(self._requests.items()):
            if request.user_code == user_code:
                del self._requests[device_code]

    def is_polled_too_fast(self, user_code: str) -> bool:
        """Whether the device asked again before its interval was over."""
        before, self._polled[user_code] = self._polled.get(user_code, 0.0), time.monotonic()
        return time.monotonic() - before < POLL_SECONDS * 0.9


def device_endpoint(codes: DeviceCodes, verification_uri: str) -> type[DeviceAuthorizationEndpoint]:
    """The endpoint at which a device asks for its codes."""

    class DeviceAuthorization(DeviceAuthorizationEndpoint):
        EXPIRES_IN = CODE_SECONDS
        INTERVAL = POLL_SECONDS

        def get_verification_uri(self) -> str:
            return verification_uri

        def save_device_credential(self, client_id: str, scope: str, data: Any) -> None:
            codes.keep(client_id, scope, data)

    return DeviceAuthorization


def device_grant(codes: DeviceCodes) -> type[DeviceCodeGrant]:
    """The grant by which a device gets the tokens of the person who approved it."""

    class DeviceGrant(DeviceCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

        def query_device_credential(self, device_code: str) -> DeviceRequest | None:
            return codes.request(device_code)

        def query_user_grant(self, user_code: str) -> tuple[Person | None, bool] | None:
            return codes.answer_to(user_code)

        def should_slow_down(self, credential: Any) -> bool:
            return codes.is_polled_too_fast(credential.user_code)

        def save_token(self, token: dict[str, Any]) -> None:
            super().save_token(token)  # type: ignore[no-untyped-call] # in the stubs alone
            credential: Any = self.request.credential
            codes.forget_user_code(credential.user_code)

    return DeviceGrant
