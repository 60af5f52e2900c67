"""The relay for containers: it forwards connections from the bridge's network only."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Interface
from queue import SimpleQueue
from threading import Thread

import pytest

from local.container_relay import NO_BRIDGE, ContainerRelay
from local.listening import PortTaken

BRIDGE = IPv4Interface("127.0.0.1/30")
"""In place of Docker's bridge: 127.0.0.2 is in its network, 127.0.0.4 is outside."""

SERVICE = "127.0.0.9"
"""In place of 127.0.0.1, so that its ports are free at the bridge's address."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a service that answers with the same text in capitals."""
    with socket.create_server((SERVICE, 0)) as listener:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        while data := connection.recv(65_536):
                            connection.sendall(data.upper())

        thread = Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def send(port: int, text: bytes, *, source: str) -> bytes:
    """The whole answer to `text` through the bridge. Empty if the relay closes the connection."""
    with socket.create_connection((str(BRIDGE.ip), port), source_address=(source, 0)) as connection:
        with suppress(OSError):
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))
        return b""


def test_peer_of_the_bridge_gets_the_whole_answer(port: int) -> None:
    """A peer in the bridge's network sends and receives more than a megabyte completely."""
    text = b"who ran it? " * 100_000
    with ContainerRelay([port], find_bridge=lambda: BRIDGE, to=SERVICE):
        assert send(port, text, source="127.0.0.2") == text.upper()


def test_peer_of_another_network_is_disconnected(port: int) -> None:
    """The relay closes a connection from another network without an answer."""
    with ContainerRelay([port], find_bridge=lambda: BRIDGE, to=SERVICE):
        assert send(port, b"who ran it?", source="127.0.0.4") == b""


def test_machine_itself_is_disconnected(port: int) -> None:
    """The relay closes a connection from the bridge's own address: a browser's, for example."""
    with ContainerRelay([port], find_bridge=lambda: BRIDGE, to=SERVICE):
        assert send(port, b"who ran it?", source="127.0.0.1") == b""


def test_docker_that_starts_later_is_found(port: int) -> None:
    """The relay says that there is no bridge, opens when there is one, and closes with it."""
    bridges: list[IPv4Interface | None] = [None]
    lines: SimpleQueue[str] = SimpleQueue()
    relay = ContainerRelay(
        [port], find_bridge=lambda: bridges[0], to=SERVICE, look_seconds=0.01, log=lines.put
    )
    with relay:
        assert lines.get(timeout=10) == NO_BRIDGE
        bridges[0] = BRIDGE
        assert str(port) in lines.get(timeout=10)
        assert send(port, b"who ran it?", source="127.0.0.2") == b"WHO RAN IT?"
        bridges[0] = None
        assert lines.get(timeout=10) == NO_BRIDGE
        socket.create_server((str(BRIDGE.ip), port)).close()


def test_port_taken_before_docker_starts_is_logged(port: int) -> None:
    """If the port is taken when the bridge appears, a line names it and the stack goes on."""
    bridges: list[IPv4Interface | None] = [None]
    lines: SimpleQueue[str] = SimpleQueue()
    with (
        socket.create_server((str(BRIDGE.ip), port)),
        ContainerRelay(
            [port], find_bridge=lambda: bridges[0], to=SERVICE, look_seconds=0.01, log=lines.put
        ),
    ):
        lines.get(timeout=10)
        bridges[0] = BRIDGE
        assert lines.get(timeout=10).startswith(f"port {port} of {BRIDGE.ip} is taken")


def test_relay_on_a_used_port_fails_with_the_port(port: int) -> None:
    """A second relay of one port raises an error that names the port."""
    with (
        ContainerRelay([port], find_bridge=lambda: BRIDGE, to=SERVICE),
        pytest.raises(PortTaken, match=str(port)),
        ContainerRelay([port], find_bridge=lambda: BRIDGE, to=SERVICE),
    ):
        pass


def test_stopped_relay_frees_its_port(port: int) -> None:
    """The port is free after the relay stopped, and while it has no bridge."""
    with ContainerRelay([port], find_bridge=lambda: BRIDGE, to=SERVICE):
        pass
    with ContainerRelay([port], find_bridge=lambda: None, to=SERVICE):
        socket.create_server((str(BRIDGE.ip), port)).close()
