"""The services of docker-compose.yml, started in the order that it demands."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import click

from streams.sandbox.process import Process
from tests.deploy.images.building import BuiltImage
from tests.deploy.stack.images import FOREIGN, Content, content
from tests.deploy.stack.machine import Machine
from tests.deploy.stack.service import Service, services
from tests.deploy.waiting import wait_until


class Stack:
    """All services but those that nothing stands for; a ``with`` statement starts them, and ends them all."""

    def __init__(self, folder: Path, built: Mapping[str, BuiltImage] | None = None) -> None:
        """Describe it.

        Args:
            folder: for logs and volumes.
            built: the images that the Dockerfile makes, by target; None: what stands for them.
        """
        self._built = built or {}
        images = {target: each.image for target, each in self._built.items()} or None
        self.services = services(FOREIGN, built=images)
        self.machine = Machine(folder, self.services, self._content_of)
        self.processes: dict[str, Process] = {}
        self._fulfilled: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        self.machine.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.__exit__()

    def start(self) -> None:
        """Start each service when all that it needs has come to be.

        Returns when those that go on are healthy, and the others have ended. Compose's intervals do not
        count: the order does not depend on them.
        """
        waiting = {
            name: "service_healthy" if service.restart else "service_completed_successfully"
            for name, service in self.services.items()
        }

        def all_are() -> bool:
            for name in list(waiting):
                needs = self.services[name].needs.items()
                if name not in self.processes and all(self._is(*need) for need in needs):
                    self.processes[name] = self.machine.start(name)
                if self._is(name, waiting[name]):
                    del waiting[name]
            return not waiting

        try:
            wait_until(all_are, lambda: f"waiting for {', '.join(waiting)}")
        except BaseException:
            for name, process in self.processes.items():
                click.echo(f"{name}:{process.last_lines()}")
            raise

    def restart(self, name: str) -> None:
        """Start a service again that has ended, as compose's ``restart`` does."""
        assert self.services[name].restart
        self._fulfilled.discard((name, "service_healthy"))
        self.machine.start(name)

    def stop(self, name: str) -> int:
        """Send SIGTERM to process 1 of a service, wait for its end, and return its exit code."""
        self.machine.signal(name, signal.SIGTERM)
        return self.processes[name].wait(30)

    def _content_of(self, service: Service) -> Content:
        built = self._built.get(service.target or "")
        return content(service.tag) if built is None else Content(root=built.root)

    def _is(self, name: str, condition: str) -> bool:
        if (name, condition) in self._fulfilled:
            return True
        process = self.processes.get(name)
        if process is None:
            return False
        match condition:
            case "service_completed_successfully":
                fulfilled = not process.running
                assert not fulfilled or process.wait() == 0, f"{name} failed.{process.last_lines()}"
            case "service_healthy":
                process.check()
                health = self.services[name].image.health
                assert health is not None, f"{name} has no health check"
                fulfilled = self.machine.run(name, health).returncode == 0
            case _:
                raise ValueError(f"{name}: nothing is known of {condition}")
        if fulfilled:
            self._fulfilled.add((name, condition))
        return fulfilled
