"""``python -m tests.downloads``: fetches what the tests need, once, before their time-outs run."""

import subprocess
from pathlib import Path

import click

from bench import java_peer
from streams.sandbox.errors import SandboxError
from streams.sandbox.kafka.jars import classpath
from tests.node import installed

_TESTS = Path(__file__).parent


def _told(doing: str) -> None:
    click.echo(f"For the tests: {doing} ...")


def main() -> None:
    """Fetch Kafka, the bench's Kafka Streams peer and the Node.js packages; say what cannot be had."""
    try:
        classpath(progress=_told)
    except SandboxError as error:
        raise click.ClickException(str(error)) from None
    if (why := java_peer.absent(_told)) is not None:
        click.echo(f"The bench is tested without Kafka Streams: {why}")
    for locked in (_TESTS / "deploy" / "dclint", _TESTS / "contract" / "kafkajs"):
        try:
            installed(locked, _told)
        except (AssertionError, subprocess.SubprocessError) as error:  # its tests will say so, too
            click.echo(f"They cannot be had ({type(error).__name__}).")


if __name__ == "__main__":
    main()
