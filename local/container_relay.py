"""Lets the containers of `sam local invoke` reach servers on this machine's loopback.

SAM puts a function's container on Docker's bridge, where 127.0.0.1 is the container's own, and
ignores `--docker-network host` (https://github.com/aws/aws-sam-cli/pull/7278). So samconfig.toml
adds to the container's `localhost` what Docker calls the host's gateway. With Docker Desktop that
leads to this machine's loopback by itself. With an engine right on Linux it leads to the bridge's
address, where this relay listens; it serves the bridge's containers and hangs up on everybody else.
"""

import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from ipaddress import IPv4Interface, ip_address
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Any, Self

from local.listening import HOST, PortTaken

BRIDGE = "docker0"
"""The interface of Docker's default network."""

NO_BRIDGE = (
    "Docker's bridge was not found: `sam local invoke` reaches this stack once Docker runs "
    "(with Docker Desktop it does already)"
)

_ADDRESS_OF_INTERFACE = 0x8915  # SIOCGIFADDR and SIOCGIFNETMASK of netdevice(7)
_NETMASK_OF_INTERFACE = 0x891B


class ContainerRelay:
    """Relays `ports` of Docker's bridge to the same ports of `to`, until the block ends.

    It serves only containers: peers of the bridge's own network without this machine, which has an
    address there too. Otherwise other machines and pages in a browser could use it. It calls
    `find_bridge` every `look_seconds`, because Docker may start or stop later, and `log` with a
    line for each change.
    """

    def __init__(
        self,
        ports: Sequence[int],
        *,
        find_bridge: Callable[[], IPv4Interface | None],
        to: str = HOST,
        look_seconds: float = 2.0,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ports = ports
        self._find_bridge = find_bridge
        self._to = to
        self._look_seconds = look_seconds
        self._log = log
        self._bridge: IPv4Interface | None = None
        self._servers = ExitStack()
        self._is_over = Event()
        self._following = Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        """Start. Raises `PortTaken`."""
        self._bridge = self._find_bridge()
        if self._bridge is None:
            self._log(NO_BRIDGE)
        else:
            self._open(self._bridge)
        self._following.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._following.join()
        self._servers.close()

    def _follow(self) -> None:
        while not self._is_over.wait(self._look_seconds):
            bridge = self._find_bridge()
            if bridge == self._bridge:
                continue
            self._bridge = bridge
            self._servers.close()
            try:
                if bridge is None:
                    self._log(NO_BRIDGE)
                else:
                    self._open(bridge)
            except PortTaken as taken:
                self._log(f"{taken}: containers do not reach this stack")

    def _open(self, bridge: IPv4Interface) -> None:
        with ExitStack() as exits:
            for port in self._ports:
                server = exits.enter_context(_relay(port, bridge, self._to))
                Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
                exits.callback(server.shutdown)
            self._servers = exits.pop_all()
        ports = ", ".join(map(str, self._ports))
        self._log(f"containers of Docker's bridge ({bridge.ip}) reach the ports {ports}")


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
        self._interface = interface
        super().__init__((str(interface.ip), port), _RelayedConnection)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        del request
        peer = ip_address(client_address[0])
        return peer in self._interface.network and peer != self._interface.ip


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
        raise PortTaken(port, str(interface.ip)) from error


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
