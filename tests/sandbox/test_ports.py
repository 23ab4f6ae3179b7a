"""Ports that nobody else gets."""

import socket
import sys

import pytest

from streams.sandbox.errors import SandboxError
from streams.sandbox.ports import EVERY_ADDRESS, HeldPort, hold_ports


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the port is let go just before the broker starts"
)
def test_broker_listens_beside_the_holder_again_and_again() -> None:
    """A server socket as Java makes it binds and listens on a held port, and so does its successor."""
    held = HeldPort()
    try:
        for _ in range(2):
            held.make_way()
            broker = socket.create_server(("127.0.0.1", held.number))  # sets SO_REUSEADDR, as Java does
            with broker, socket.create_connection(("127.0.0.1", held.number)) as client:
                accepted, _ = broker.accept()
                with accepted:
                    accepted.sendall(b"x")
                    assert client.recv(1) == b"x"
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", held.number))
    finally:
        held.release()


def test_held_ports_differ_from_all_others() -> None:
    """The kernel gives a held port to no other socket, held or not."""
    held = [HeldPort() for _ in range(50)]
    others = [socket.socket() for _ in range(50)]
    try:
        for other in others:
            other.bind(("127.0.0.1", 0))
        numbers = [port.number for port in held] + [other.getsockname()[1] for other in others]
        assert len(set(numbers)) == 100
    finally:
        for port in held:
            port.release()
        for other in others:
            other.close()


def test_taken_port_is_refused_and_the_others_let_go() -> None:
    """When the second of two ports is taken, the error names it, and the first is free again."""
    first = _first_of_two_free_ports()
    with socket.create_server(("127.0.0.1", first + 1)):
        with pytest.raises(SandboxError, match=f"Port {first + 1} on 127.0.0.1 is in use"):
            hold_ports(2, first)
        socket.create_server(("127.0.0.1", first)).close()


def _first_of_two_free_ports() -> int:
    # Below the ports that the kernel hands out by itself, where other tests may get one at any moment.
    for first in range(20_000, 30_000, 2):
        try:
            for number in (first, first + 1):
                socket.create_server(("127.0.0.1", number)).close()
        except OSError:
            continue
        return first
    raise AssertionError("no two ports in a row are free")


def test_number_that_is_no_port_is_refused() -> None:
    """Three brokers from port 65,534 on would need a port that does not exist."""
    with pytest.raises(SandboxError, match=r"Port 65536 .* is not to be had"):
        hold_ports(3, 65534)


@pytest.mark.skipif(sys.platform != "linux", reason="all of 127.0.0.0/8 is this machine on Linux only")
def test_a_port_held_at_every_address_is_taken_at_each_of_them() -> None:
    """Another program cannot have it at another address; a server that sets SO_REUSEADDR can, at any."""
    at_one, at_every = HeldPort(), HeldPort(address=EVERY_ADDRESS)
    try:
        with socket.socket() as other:
            other.bind(("127.0.0.2", at_one.number))  # the holder of one address does not prevent it
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.2", at_every.number))
        for address in ("", "127.0.0.1"):
            with socket.create_server((address, at_every.number)):
                pass
    finally:
        at_one.release()
        at_every.release()
