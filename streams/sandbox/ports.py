"""Ports that stay ours from before a server starts until long after it was killed."""

import errno
import socket
import sys

from streams.sandbox.errors import SandboxError

#: Everything in the sandbox listens on the loopback interface only.
HOST = "127.0.0.1"
#: As the socket library has it. Nothing listens there; a port may be held there.
EVERY_ADDRESS = ""


class HeldPort:
    """A port that no other program is given while we hold it, at 127.0.0.1 or at every address.

    The socket is bound with SO_REUSEADDR and never listens. On Linux a second socket with SO_REUSEADDR, as
    the server sockets of Java and asyncio have, may bind and listen beside it, while the kernel gives the
    port neither to a bind to port 0 nor to an outgoing connection (`inet_csk_bind_conflict`). So the server
    finds its port free at the start, and again after a kill and restart. Elsewhere the port is let go just
    before the server starts.
    """

    def __init__(self, port: int = 0, address: str = HOST) -> None:
        """Take this port, or any free one for 0.

        Raises:
            SandboxError: the port is in use, or may not be used.
        """
        self._socket: socket.socket | None = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address, port))
        except (OSError, OverflowError) as error:
            self._socket.close()
            in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "in use" if in_use else f"not to be had ({error})"
            where = address or "some address"
            raise SandboxError(f"Port {port} on {where} is {why}: choose another one.") from error
        self.number: int = self._socket.getsockname()[1]

    def make_way(self) -> None:
        """A server is about to listen here."""
        if sys.platform != "linux":
            self.release()

    def release(self) -> None:
        """Anybody may have the port."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def free_port() -> int:
    """Return a port on which nobody listens now; the next one to ask for a free port may be given it, too."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def hold_ports(brokers: int, first: int | None) -> tuple[HeldPort, ...]:
    """A port for each broker (from `first` on, or free ones), then a free one for each controller.

    Raises:
        SandboxError: one of them is not to be had; none is held then.
    """
    wanted = [first + i if first else 0 for i in range(brokers)] + [0] * brokers
    held: list[HeldPort] = []
    try:
        for number in wanted:
            held.append(HeldPort(number))  # noqa: PERF401 those held so far must be known when one fails
    except SandboxError:
        for port in held:
            port.release()
        raise
    return tuple(held)
