"""The demo: set the stage, publish as Proca does, wait for the letters, count on both sides."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import click

from examples.proca.demo.letters import Letterbox, faults
from examples.proca.demo.proca import Proca, dumped, message, ref
from examples.proca.demo.processes import BridgeProcess
from examples.proca.demo.rabbitmq import RabbitMq
from streams.sandbox.errors import ProcessFailed
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.process import Process
from streams.sandbox.supervised import SupervisedProcesses
from streams.sandbox.worker import SOURCE, WorkerProcess

ORGANISATION = 310
PROCA = "https://api.proca.example"  # where the letters' links lead; nobody follows them here
SUBSCRIBERS = 4  # one in so many has opted in before
_WITHIN = 120.0  # seconds for every step
_GRACE = 20.0  # seconds from SIGTERM to SIGKILL
_LOOK_EVERY = 0.1  # seconds
_PRESETS = SOURCE / "examples/mailer/presets"
_LISTED = 5


def run(number: int) -> int:
    """Bring `number` messages through. Returns the exit code: 0 if there are as many letters, each right."""
    with ExitStack() as stage:
        folder = Path(stage.enter_context(tempfile.TemporaryDirectory(prefix="streams-proca-")))
        processes = SupervisedProcesses(grace=_GRACE)
        stage.callback(processes.close)
        with _step("Starting Apache Kafka"):
            kafka = EmbeddedKafka()
            stage.callback(kafka.stop)
            kafka.start()
        with _step("Starting RabbitMQ"):
            rabbitmq = RabbitMq(processes, folder)
            stage.callback(rabbitmq.close)
            rabbitmq.start()
        with _step("Starting a worker"):
            settings = {
                "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
                "TOPIC_PARTITIONS": 2,
                "STORE": "memory",
            }
            worker = WorkerProcess(processes, "worker", folder, settings)
            stage.callback(worker.close)
            worker.start()
            worker.wait_ready()
        with _step("Starting the bridges and the mailer"):
            asyncio.run(_declare(rabbitmq.url))
            given = {
                "amqp_url": rabbitmq.url,
                "organisations": ORGANISATION,
                "kafka_bootstrap_servers": kafka.bootstrap_servers,
            }
            bridges = [BridgeProcess(processes, name, folder, given) for name in ("statuses", "actions")]
            for bridge in bridges:
                stage.callback(bridge.close)
                bridge.start()
            for bridge in bridges:
                _wait(bridge, partial(getattr, bridge, "ready"))
            letterbox = Letterbox()
            letterbox.start()
            stage.callback(letterbox.stop)
            mailer = _mailer(processes, folder, kafka.bootstrap_servers, letterbox.port)
            stage.callback(mailer.kill)
            mailer.start()
        refs = {each: ref(each) for each in range(1, number + 1)}
        subscribers = {each for each in refs if each % SUBSCRIBERS == 0}
        with _step(f"Proca delivers {len(subscribers)} actions of people who have opted in"):
            asyncio.run(_publish(rabbitmq.url, "deliver", [_opted_in(each) for each in sorted(subscribers)]))
            worker.wait_counter(len(subscribers), "confirmation_statuses_total", _WITHIN, result="applied")
        with _step(f"Proca asks for {number} confirmations"):
            bodies = [dumped(message(each)) for each in refs]
            asyncio.run(_publish(rabbitmq.url, "confirm.supporter", bodies))
        with _step("Waiting for the letters"):
            _wait(mailer, lambda: len(letterbox.letters) >= number)
        with _step("Stopping everything in good order"):
            codes = [each.stop(_GRACE) for each in (*bridges, worker, mailer)]
        click.echo("\nThe audit, from actions to emails:")
        environ = {**os.environ, "STREAMS_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
        audited = subprocess.run(
            [sys.executable, "-m", "streams", "audit"], env=environ, cwd=SOURCE, check=False
        ).returncode
        wrong = faults(letterbox.letters, PROCA, refs, subscribers)
        for sentence in wrong[:_LISTED]:
            click.echo(f"wrong: {sentence}")
        if any(codes):
            click.echo(f"wrong: a process ended with another exit code than 0: {codes}")
        click.echo(f"\nFrom Proca to people: {number} messages, {len(letterbox.letters)} letters")
        return int(bool(wrong or audited or any(codes)))


@contextmanager
def _step(what: str) -> Iterator[None]:
    began = time.monotonic()
    click.echo(f"{what} ...", nl=False)
    yield
    click.echo(f" {time.monotonic() - began:.1f} s")


def _wait(process: Process, seen: Callable[[], bool]) -> None:
    until = time.monotonic() + _WITHIN
    while not seen():
        process.check()
        if time.monotonic() > until:
            raise ProcessFailed(f"The {process.name} has not done it.{process.last_lines()}")
        time.sleep(_LOOK_EVERY)


def _mailer(processes: SupervisedProcesses, folder: Path, kafka: str, port: int) -> Process:
    """The example mailer, with Proca's links, and the action's id where Mailjet expects it."""
    links = dict(
        line.split("=", 1)
        for line in (_PRESETS / "proca.env").read_text().splitlines()
        if not line.startswith("#")
    )
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SOURCE),
        **links,
        "MAILER_LINK_BASE": PROCA,
        "MAILER_FROM": "campaigns@example.org",
        "MAILER_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "MAILER_SMTP_HOST": "127.0.0.1",
        "MAILER_SMTP_PORT": str(port),
        "MAILER_ACTION_ID_HEADER": "X-MJ-CustomID",
        "MAILER_SENT_FILE": str(folder / "sent.sqlite"),
    }
    argv = [sys.executable, "-m", "examples.mailer"]
    return Process(processes, "mailer", argv, environ, folder / "mailer.log")


def _opted_in(number: int) -> bytes:
    action = message(number, stage="deliver")
    doubled = {"emailStatus": "double_opt_in", "emailStatusChanged": "2026-11-24T11:00:00Z"}
    return dumped(action | {"privacy": action["privacy"] | doubled})


async def _declare(url: str) -> None:
    async with Proca(url) as proca:
        await proca.declare(ORGANISATION)


async def _publish(url: str, exchange: str, bodies: list[bytes]) -> None:
    async with Proca(url) as proca:
        await proca.publish(f"org.{ORGANISATION}.{exchange}", bodies)
