"""The process of ministack: `python ministack_process.py <listener> <folder>`.

The listener is a file descriptor. This module runs in .venv-second-engine, so it imports nothing of
ours. When standard input ends, its parent has ended. Then it deletes the folder, and ends
itself with the functions that it started.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from shutil import rmtree
from threading import Thread
from typing import Any

from hypercorn.asyncio import serve  # type: ignore[import-not-found]
from hypercorn.config import Config  # type: ignore[import-not-found]
from ministack.app import app  # type: ignore[import-not-found]

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]

HOSTS = (b"127.0.0.1", b"localhost")
OWN_SITES = (b"none", b"same-origin")


def refusal(headers: list[tuple[bytes, bytes]]) -> str:
    """Why a request may come from a web page, empty if it cannot.

    ministack lets the pages of every site read its answers and reset it. A page cannot remove these
    headers, and its own host name in `Host` shows DNS rebinding.
    """
    for name, value in headers:
        match name.lower():
            case b"host" if value.partition(b":")[0] not in HOSTS:
                return "the host name is not that of this machine's loopback"
            case b"origin":
                return "a web page sent the request"
            case b"sec-fetch-site" if value not in OWN_SITES:
                return "a web page of another site sent the request"
    return ""


async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 403 to what may come from a web page. Pass everything else on to ministack."""
    if scope["type"] == "lifespan" or not (reason := refusal(scope["headers"])):
        await app(scope, receive, send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        body = f"Refused: {reason}.\n".encode()
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def end_with_parent(folder: Path) -> None:
    """Wait for the end of standard input, then end this process group."""
    sys.stdin.buffer.read()
    rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve until the parent ends."""
    file, folder = sys.argv[1:]
    Thread(target=end_with_parent, args=(Path(folder),), daemon=True).start()
    config = Config()
    config.bind = [f"fd://{file}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    asyncio.run(serve(guarded, config))


if __name__ == "__main__":
    main()
