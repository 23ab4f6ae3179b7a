"""`streams kafka`: a Kafka in the foreground, until Ctrl-C."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import NoReturn

import click

from streams.sandbox.errors import SandboxError
from streams.sandbox.interrupts import Interrupted, Interrupts
from streams.sandbox.kafka.cluster import EmbeddedKafka
from streams.sandbox.kafka.jars import KAFKA_VERSION

_QUIET_SECONDS = 2.0
_CHECK_SECONDS = 1.0


class _Progress:
    """Progress on standard error: silent for the first two seconds, then one line a second at most."""

    def __init__(self) -> None:
        self._latest = f"starting Apache Kafka {KAFKA_VERSION}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> _Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ready.set()
        self._thread.join()

    def __call__(self, doing: str) -> None:
        self._latest = doing

    def _tell(self) -> None:
        progress, pause = "", _QUIET_SECONDS
        while not self._ready.wait(pause):
            pause = 1.0
            if self._latest != progress:
                progress = self._latest
                click.echo(f"{progress[0].upper()}{progress[1:]} …", err=True)


def run_in_foreground(brokers: int, folder: Path | None, port: int | None) -> int:
    """Run a Kafka until SIGINT, SIGTERM or SIGHUP; call it in the main thread.

    Args:
        brokers: 1 or 3.
        folder: is kept; None: a temporary one that goes at the end.
        port: of the first broker, the others follow; None: free ones.

    Returns:
        The exit code: 0 when it was asked to end; 1 when it could not start or a broker ended by itself, with
        the reason on standard error.
    """
    try:
        with Interrupts() as interrupts:
            _run(brokers, folder, port, interrupts)
    except Interrupted:
        return 0
    except (SandboxError, ValueError) as error:
        click.echo(f"Error: {error}", err=True)
        return 1


def _run(brokers: int, folder: Path | None, port: int | None, interrupts: Interrupts) -> NoReturn:
    progress = _Progress()
    kafka = EmbeddedKafka(brokers, folder, port=port, progress=progress)
    try:
        with progress:
            kafka.start()
        kept = "kept" if folder is not None else "removed at the end"
        click.echo(f"Apache Kafka {KAFKA_VERSION} is ready: {kafka.bootstrap_servers}")
        click.echo(f"Its files are in {kafka.folder} ({kept}). Ctrl-C ends it.")
        while True:
            time.sleep(_CHECK_SECONDS)
            kafka.check()
    finally:
        interrupts.ignore()
        kafka.stop()
