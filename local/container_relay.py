"""Lets the containers of `sam local invoke` reach servers on this machine's loopback.

SAM puts a function's container on Docker's bridge, where 127.0.0.1 is the container's own, and
ignores `--docker-network host` (https://github.com/aws/aws-sam-cli/pull/7278). So samconfig.toml
adds to the container's `localhost` what Docker calls the host's gateway. With Docker Desktop that
leads to this machine's loopback by itself. With an engine right on Linux it leads to the bridge's
address, where this relay listens; it serves the bridge's containers and hangs up on everybody else.
"""

import socket
import struct
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from ipaddress import IPv4Interface, ip_address
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any, Self

from local.listening import HOST, PortTaken

BRIDGE = "docker0"
"""The interface of Docker's default network."""

_ADDRESS_OF_INTERFACE = 0x8915  # SIOCGIFADDR and SIOCGIFNETMASK of netdevice(7)
_NETMASK_OF_INTERFACE = 0x891B


class ContainerRelay:
    """Relays `ports` of `interface` to the same ports of `to`, until the block ends.

    It serves only peers of the interface's own network, because other machines of the local network
    can send packets to the bridge's address. Without an interface it does nothing.
    """

    def __init__(
        self, ports: Sequence[int], *, interface: IPv4Interface | None, to: str = HOST
    ) -> None:
        self._ports = ports
        self._interface = interface
        self._to = to

    def __enter__(self) -> Self:
        """Start. Raises `PortTaken`."""
        with ExitStack() as exits:
            if self._interface is not None:
                for port in self._ports:
                    server = exits.enter_context(_relay(port, self._interface, self._to))
                    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
                    exits.callback(server.shutdown)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()


def docker_bridge() -> IPv4Interface | None:
    """This machine's address in Docker's default network; None without Docker."""
    try:
        from fcntl import ioctl  # noqa: PLC0415 - Unix only
    except ImportError:
        return None
    request = struct.pack("256s", BRIDGE.encode())
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as any_socket:
        try:
            address, netmask = (
                socket.inet_ntoa(ioctl(any_socket.fileno(), question, request)[20:24])
                for question in (_ADDRESS_OF_INTERFACE, _NETMASK_OF_INTERFACE)
            )
        except OSError:
            return None
    return IPv4Interface(f"{address}/{netmask}")


class _Relay(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, interface: IPv4Interface, to: str) -> None:
        self.to = (to, port)
        self._network = interface.network
        super().__init__((str(interface.ip), port), _RelayedConnection)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        del request
        return ip_address(client_address[0]) in self._network


class _RelayedConnection(BaseRequestHandler):
    server: _Relay

    def handle(self) -> None:
        with suppress(OSError), closing(socket.create_connection(self.server.to)) as inside:
            answering = Thread(target=_copy, args=(inside, self.request), daemon=True)
            answering.start()
            _copy(self.request, inside)
            answering.join()


def _relay(port: int, interface: IPv4Interface, to: str) -> _Relay:
    try:
        return _Relay(port, interface, to)
    except OSError as error:
        raise PortTaken(port) from error


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
