"""Containers without an engine: each a process in namespaces of its own, joined by a bridge."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from streams.sandbox.process import Process
from streams.sandbox.supervised import SupervisedProcesses
from tests.deploy.kustomize import ROOT
from tests.deploy.stack import container
from tests.deploy.stack.images import Content, content
from tests.deploy.stack.service import Service
from tests.deploy.waiting import wait_until
from tests.tools import debian_tool, namespaces

_NEW = ("--mount", "--pid", "--fork", "--kill-child")
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_ADDRESS = "10.89.0.{}"
#: Runs as process 1 of the machine that the containers share; all of them end with it.
_NETWORK = """
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add bridge type bridge
ip address add {bridge}/24 dev bridge
ip link set bridge up
{joined}
exec sleep infinity
"""
_JOINED = """
ip netns add {name}
ip link add port-{number} type veth peer name eth0 netns {name}
ip link set port-{number} master bridge up
ip -n {name} link set lo up
ip -n {name} address add {address}/24 dev eth0
ip -n {name} link set eth0 up
"""


class Machine:
    """A network of containers; a ``with`` statement makes it, and ends them all.

    Skips the test where this user may not make namespaces; fails in CI.
    """

    def __init__(
        self,
        folder: Path,
        services: dict[str, Service],
        content_of: Callable[[Service], Content] = lambda service: content(service.tag),
    ) -> None:
        """Describe it.

        Args:
            folder: for logs, volumes and descriptions of containers.
            services: those that may be started in it.
            content_of: what a service's image has.
        """
        self._content_of = content_of
        self._folder = folder
        self._services = services
        self.addresses = {name: _ADDRESS.format(10 + number) for number, name in enumerate(services)}
        self._containers: dict[str, Process] = {}

    def __enter__(self) -> Self:
        debian_tool("ip", "iproute2")
        command = namespaces("--net", "--mount-proc", *_NEW)
        joined = [
            _JOINED.format(name=name, number=number, address=self.addresses[name])
            for number, name in enumerate(self._services)
        ]
        script = _NETWORK.format(bridge=_ADDRESS.format(1), joined="".join(joined))
        self._processes = SupervisedProcesses(grace=0.0)
        log = self._folder / "machine.log"
        self._network = Process(
            self._processes, "machine", [*command, "sh", "-ec", script], dict(os.environ), log
        )
        try:
            self._network.start()
            self._wait_for_the_network()
        except BaseException:
            self._processes.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # The end of this process is that of all containers, and then of the processes that started them.
            self._network.kill()
            for process in self._containers.values():
                process.wait()
        finally:
            self._processes.close()

    def _wait_for_the_network(self) -> None:
        self._first = _child(self._network)
        program = Path(f"/proc/{self._first}/comm")

        def made() -> bool:
            self._network.check()
            return program.read_text() == "sleep\n"

        wait_until(made, lambda: f"making the network: {self._network.tail(1)}")

    def start(self, name: str) -> Process:
        """Start the container of a service, again if it has ended, and return its process."""
        description = self._describe(self._services[name])
        argv = [
            *("nsenter", "--target", str(self._first), "--mount", "--net", "--pid", "--"),
            *("nsenter", f"--net=/run/netns/{name}", "--", "unshare", *_NEW, "--"),
            *(sys.executable, "-I", "-S", container.__file__, str(description)),
        ]
        process = self._containers.get(name)
        if process is None:
            log = self._folder / f"{name}.log"
            process = Process(self._processes, name, argv, dict(os.environ), log)
            self._containers[name] = process
        process.start()
        return process

    def signal(self, name: str, number: int) -> None:
        """Send a signal to process 1 of a container, as ``docker kill`` does."""
        os.kill(self._process_1(name), number)

    def run(self, name: str, argv: Sequence[str], given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in a container, with `given` as its input, as ``docker compose exec -T`` does."""
        service = self._services[name]
        environment = {**service.image.environment, **self._content_of(service).environment}
        user = str(service.image.user)
        command = [
            *("nsenter", "--target", str(self._process_1(name)), "--mount", "--net", "--pid", "--root"),
            *("--wd", "--setuid", user, "--setgid", user, "--", "/usr/bin/env", "-i"),
            *(f"{key}={value}" for key, value in environment.items()),
            *argv,
        ]
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)

    @contextmanager
    def network(self) -> Iterator[None]:
        """Within it, this thread's new sockets are on the bridge, as if it was one more container."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as own, open(f"/proc/{self._first}/ns/net") as bridge:
            if libc.setns(bridge.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                libc.setns(own.fileno(), _CLONE_NEWNET)

    def _process_1(self, name: str) -> int:
        """The container's first process, by its number outside of it."""
        process = self._containers[name]
        return _child(process, _child(process))

    def _describe(self, service: Service) -> Path:
        """Write down what its container is."""
        image, has = service.image, self._content_of(service)
        binds = [(str(source), target, True) for source, target in has.binds]
        for source, target in service.mounts.items():
            if source.startswith("."):
                binds.append((str(ROOT / source), target, True))
                continue
            volume = self._folder / "volumes" / source
            volume.mkdir(parents=True, exist_ok=True)
            os.chown(volume, image.user, image.user)
            binds.append((str(volume), target, False))
        layers = self._folder / "layers" / service.name
        layers.mkdir(parents=True, exist_ok=True)
        hosts = {"localhost": "127.0.0.1", **self.addresses}
        description = {
            "lowest": str(has.root),
            "layers": str(layers),
            "files": {**has.files, "/etc/hosts": "".join(f"{hosts[name]} {name}\n" for name in hosts)},
            "binds": binds,
            "folders": has.folders,
            "memory": service.memory,
            "read_only": service.read_only,
            "folder": image.folder,
            "user": image.user,
            "argv": service.argv,
            "environment": {**image.environment, **has.environment},
        }
        file = self._folder / f"{service.name}.json"
        file.write_text(json.dumps(description))
        return file


def _child(process: Process, parent: int | None = None) -> int:
    """Return the only child of a process of ours, when it is there."""
    number = process.pid if parent is None else parent
    children = Path(f"/proc/{number}/task/{number}/children")
    found: list[str] = []

    def started() -> bool:
        process.check()
        found[:] = children.read_text().split()
        return bool(found)

    wait_until(started, lambda: f"starting {process.name}: {process.tail(1)}")
    return int(found[0])
