"""AWS credentials that are loaded at the first request, so that a snapshot of init holds none.

botocore loads credentials when a client is made. With SnapStart it would ask Lambda's credentials
endpoint during init, and each copy of the snapshot would hold that answer.
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-best-practices.html
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from botocore.credentials import CredentialProvider, CredentialResolver, Credentials
from botocore.exceptions import NoCredentialsError
from botocore.session import Session

_THROWAWAY = Credentials("throwaway", "throwaway", "throwaway")

_is_priming = False


def load_credentials_later(session: Session) -> None:
    """Let the clients of `session` load their credentials at their first request."""
    resolver = session.get_component("credential_provider")
    others = CredentialResolver(list(resolver.providers))
    resolver.insert_before("env", _Provider(others))


@contextmanager
def throwaway_credentials() -> Iterator[None]:
    """Sign requests with throwaway credentials until the block ends. They must not be sent."""
    global _is_priming  # noqa: PLW0603 - init has one thread
    _is_priming = True
    try:
        yield
    finally:
        _is_priming = False


class LaterCredentials(Credentials):
    """The credentials that `load` returns, called once, at the first request outside priming."""

    def __init__(self, load: Callable[[], Credentials | None]) -> None:
        super().__init__("later", "later")
        self._load = load
        self._loaded: Credentials | None = None
        self._lock = Lock()

    def get_frozen_credentials(self) -> Any:
        """The keys to sign a request with. Raises `NoCredentialsError`."""
        return self._current().get_frozen_credentials()

    def get_deferred_property(self, property_name: str) -> Callable[[], Any]:
        """A function that returns a property of the keys, such as the account's id."""
        return lambda: getattr(self._current(), property_name, None)

    def _current(self) -> Credentials:
        if _is_priming:
            return _THROWAWAY
        with self._lock:
            self._loaded = self._loaded or self._load()
        if self._loaded is None:
            raise NoCredentialsError
        return self._loaded


class _Provider(CredentialProvider):
    METHOD = "later"
    CANONICAL_NAME = "Later"

    def __init__(self, others: CredentialResolver) -> None:
        super().__init__()
        self._others = others

    def load(self) -> LaterCredentials:
        return LaterCredentials(self._others.load_credentials)
