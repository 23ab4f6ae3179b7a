"""A real RabbitMQ on this machine: Debian's package, run without its service, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

from streams.sandbox.errors import ProcessFailed, SandboxError
from streams.sandbox.ports import EVERY_ADDRESS, HOST, HeldPort
from streams.sandbox.process import Process
from streams.sandbox.supervised import SupervisedProcesses

#: Where Debian puts the program itself; the command in PATH is one for root and the user rabbitmq.
_PROGRAMS = Path("/usr/lib/rabbitmq/lib")
_STARTED_WITHIN = 90.0  # seconds; some ten are usual
_STOPPED_WITHIN = 30.0  # seconds
_LOOK_EVERY = 0.1  # seconds
#: Erlang's scheduler neither spins nor takes every core, and its nodes listen on the loopback interface.
_ERLANG = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +S 1:1"


def absent() -> str | None:
    """Say in a sentence why there is no RabbitMQ here; None: there is."""
    if _program() is None or shutil.which("epmd") is None:
        return "RabbitMQ is not installed: apt-get install rabbitmq-server."
    return None


class RabbitMq:
    """One node that listens on 127.0.0.1 only. It ends with its supervisor, however we end."""

    def __init__(self, processes: SupervisedProcesses, folder: Path) -> None:
        """Describe a node that keeps its files in `folder`; nothing runs yet.

        Raises:
            SandboxError: it is not installed, or there is no free port.
        """
        program = _program()
        if program is None:
            raise SandboxError(absent() or "")
        self._port, self._names = HeldPort(), HeldPort()
        # Before it starts, RabbitMQ tries this one at every address, though it listens at one.
        self._nodes = HeldPort(address=EVERY_ADDRESS)
        #: For clients, with the user that RabbitMQ has from the start, who may connect from here only.
        self.url = f"amqp://guest:guest@{HOST}:{self._port.number}/"
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RABBITMQ_NODENAME": "streams@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self._port.number),
            "RABBITMQ_DIST_PORT": str(self._nodes.number),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
            "RUNNING_UNDER_SYSTEMD": "true",  # one process: without a shell that passes signals on
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._names.number),
        }
        # Erlang's register of nodes; RabbitMQ would start one that stays when it has ended.
        register = ["epmd", "-address", HOST, "-port", str(self._names.number)]
        self._register = Process(processes, "epmd", register, environ, folder / "epmd.log")
        self.process = Process(processes, "rabbitmq", [str(program)], environ, folder / "rabbitmq.log")

    def start(self) -> None:
        """Start it, again too, and wait until clients can connect.

        Raises:
            SandboxError: it does not start.
        """
        for port in (self._port, self._nodes, self._names):
            port.make_way()
        if not self._register.running:
            self._register.start()
        self.process.start()
        until = time.monotonic() + _STARTED_WITHIN
        while not self._greets():
            self.process.check()
            if time.monotonic() > until:
                raise ProcessFailed(f"RabbitMQ does not answer.{self.process.last_lines()}")
            time.sleep(_LOOK_EVERY)

    def stop(self) -> None:
        """End it in good order."""
        self.process.stop(_STOPPED_WITHIN)

    def close(self) -> None:
        """Kill it, if it runs, and let go of its ports."""
        self.process.kill()
        self._register.kill()
        for port in (self._port, self._nodes, self._names):
            port.release()

    def _greets(self) -> bool:
        """Whether it answers to the protocol's header: it listens a moment before."""
        try:
            with socket.create_connection((HOST, self._port.number), 1.0) as client:
                client.sendall(b"AMQP\x00\x00\x09\x01")
                client.settimeout(5.0)
                return bool(client.recv(1))
        except OSError:
            return False


def _program() -> Path | None:
    return next(iter(sorted(_PROGRAMS.glob("rabbitmq_server-*/sbin/rabbitmq-server"))), None)
