"""The relay for containers: it hands on what the bridge's network sends, and nobody else's."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Interface
from threading import Thread

import pytest

from local.container_relay import ContainerRelay
from local.listening import PortTaken

BRIDGE = IPv4Interface("127.0.0.1/30")
"""Stands in for Docker's: 127.0.0.2 is in its network, 127.0.0.4 the first address outside."""

SERVICE = "127.0.0.9"
"""Stands in for loopback: on one machine, a port that is free at the bridge's address."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a service that says everything back in capitals."""
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


def say(port: int, text: bytes, *, source: str) -> bytes:
    """What comes back for `text` through the bridge, to the end; nothing if it hangs up."""
    with socket.create_connection((str(BRIDGE.ip), port), source_address=(source, 0)) as connection:
        with suppress(OSError):
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))
        return b""


def test_container_reaches_the_service(port: int) -> None:
    """A peer of the bridge's network gets the service's whole answer, both ways to the end."""
    text = b"who ran it? " * 100_000
    with ContainerRelay([port], interface=BRIDGE, to=SERVICE):
        assert say(port, text, source="127.0.0.2") == text.upper()


def test_neighbour_of_the_machine_is_hung_up_on(port: int) -> None:
    """A peer of any other network gets nothing."""
    with ContainerRelay([port], interface=BRIDGE, to=SERVICE):
        assert say(port, b"who ran it?", source="127.0.0.4") == b""


def test_port_that_is_taken_is_told(port: int) -> None:
    """Two relays of one port are one too many, and the second one says which."""
    with (
        ContainerRelay([port], interface=BRIDGE, to=SERVICE),
        pytest.raises(PortTaken, match=str(port)),
        ContainerRelay([port], interface=BRIDGE, to=SERVICE),
    ):
        pass


def test_relay_leaves_nothing_listening(port: int) -> None:
    """After the block its port is free again, and so is one where no bridge was."""
    with ContainerRelay([port], interface=BRIDGE, to=SERVICE):
        pass
    with ContainerRelay([port], interface=None, to=SERVICE):
        socket.create_server((str(BRIDGE.ip), port)).close()
