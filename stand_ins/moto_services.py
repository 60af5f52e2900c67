"""The other services of AWS, by the selected engine: moto, unless the environment names another.

https://docs.getmoto.org/en/latest/docs/server_mode.html
"""

import hashlib
import time
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from threading import Lock
from wsgiref.types import WSGIApplication

from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from stand_ins.engine import application, new_account
from stand_ins.listener import HttpAnswer, HttpRequest
from stand_ins.refusal import Refused

TOKEN_IS_KNOWN_SECONDS = 600
"""How long DynamoDB remembers the `ClientRequestToken` of a transaction."""

# moto keeps its state in the process, and it is not thread-safe.
_engine_lock = Lock()


def ask(engine: WSGIApplication, request: HttpRequest) -> HttpAnswer:
    """Pass a request to a WSGI application in this process. Returns its answer."""
    address = f"http://{request.headers['Host']}"
    builder = EnvironBuilder(
        request.path, address, method="POST", headers=[*request.headers.items()], data=request.body
    )
    response = Response.from_app(engine, builder.get_environ(), buffered=True)
    return HttpAnswer(response.status_code, dict(response.headers), response.get_data())


@dataclass(frozen=True, slots=True)
class _Transaction:
    at: float
    request: bytes
    answer: HttpAnswer


class MotoServices:
    """An account in moto of its own, so that two servers share nothing.

    DynamoDB recognises a repeated transaction by its `ClientRequestToken` and answers as before.
    moto checks its conditions again and cancels it, so this class keeps the answers.
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.account = new_account()
        self._clock = clock
        self._transactions: dict[str, _Transaction] = {}
        self._transactions_lock = Lock()

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Pass a request on to moto unchanged. Returns its answer."""
        headers = {**request.headers, "x-moto-account-id": self.account}
        with _engine_lock:
            return ask(application(), replace(request, headers=headers))

    def transact(self, token: str, request: HttpRequest) -> HttpAnswer:
        """Pass on a `TransactWriteItems` once per token. Returns the first answer to a repetition.

        Raises `Refused` if the token belongs to another request.
        """
        digest = hashlib.sha256(request.body).digest()
        with self._transactions_lock:
            known = self._transactions.get(token)
            if known is None or self._clock() - known.at >= TOKEN_IS_KNOWN_SECONDS:
                answer = self.answer(request)
                if answer.status == 200:
                    self._transactions[token] = _Transaction(self._clock(), digest, answer)
                return answer
        if known.request != digest:
            message = "The token was used for another request."
            raise Refused("IdempotentParameterMismatchException", message)
        return known.answer
