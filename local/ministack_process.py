"""The process of ministack. Its arguments: the file descriptor of its listener, and its folder.

This module runs in .venv-second-engine, so it imports no package of .venv. When standard input
ends, its parent has ended. Then it deletes the folder, and ends itself with the functions that it
started.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from shutil import rmtree
from threading import Thread
from typing import Any

from hypercorn.asyncio import serve  # type: ignore[import-not-found]
from hypercorn.config import Config  # type: ignore[import-not-found]
from ministack.app import app  # type: ignore[import-not-found]

from local.guard import Clients, Refusal, refusal

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]


async def answer_refusal(refused: Refusal, send: Send) -> None:
    """Answer a request that the guard refused."""
    body = f"{refused.text}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def guarded(port: int) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The application of ministack, for signed requests that no web page caused.

    ministack itself lets the pages of every site read its answers, and reset it.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in scope["headers"]
            ]
            clients = Clients.SIGNING_PROGRAMS
            refused = refusal(scope["method"], headers, port=port, clients=clients)
            await (answer_refusal(refused, send) if refused else app(scope, receive, send))
        else:  # a WebSocket, which nothing here uses
            await send({"type": "websocket.close", "code": 1008})

    return answer


def end_with_parent(folder: Path) -> None:
    """Wait for the end of standard input, then end this process group."""
    sys.stdin.buffer.read()
    rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve until the parent ends."""
    listener, folder = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    Thread(target=end_with_parent, args=(folder,), daemon=True).start()
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    asyncio.run(serve(guarded(listener.getsockname()[1]), config))
