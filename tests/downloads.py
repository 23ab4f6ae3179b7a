"""``python -m tests.downloads``: fetches what the tests need, once, before their time-outs run."""

import os
import subprocess
from pathlib import Path

import click

from bench import java_peer
from streams.sandbox.errors import SandboxError
from streams.sandbox.kafka.jars import classpath
from tests.deploy.stack.images import FOREIGN, mailpit
from tests.deploy.stack.service import services
from tests.node import installed

_TESTS = Path(__file__).parent


def _told(doing: str) -> None:
    click.echo(f"For the tests: {doing} ...")


def main() -> None:
    """Fetch Kafka, the bench's peers, the Node.js packages and Mailpit; say what cannot be had."""
    try:
        classpath(progress=_told)
    except SandboxError as error:
        raise click.ClickException(str(error)) from None
    for peer in (java_peer.KAFKA_STREAMS, java_peer.FLINK):
        if (why := peer.absent(_told)) is not None:
            click.echo(f"The bench is tested without {peer.title}: {why}")
    for locked in ("deploy/dclint", "contract/kafkajs", "monitoring/grafana-schema"):
        try:
            installed(_TESTS / locked, _told)
        except (AssertionError, subprocess.SubprocessError) as error:  # its tests will say so, too
            click.echo(f"They cannot be had ({type(error).__name__}).")
    if os.geteuid() == 0:  # others may not make the namespaces of tests/deploy/test_stack.py
        try:
            mailpit(services(FOREIGN)["mailpit"].tag.rpartition(":")[2])
        except subprocess.CalledProcessError as error:  # its test will say so, too
            click.echo(f"Mailpit cannot be built:\n{error.stderr.decode()}")


if __name__ == "__main__":
    main()
