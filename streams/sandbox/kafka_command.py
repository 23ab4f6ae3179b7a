"""The command ``streams kafka``."""

import sys
from pathlib import Path

import click


@click.command()
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".cache/kafka"),
    show_default=True,
    help="Where the brokers keep their files.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=9092,
    show_default=True,
    help="Of the first broker.",
)
def kafka(brokers: str, folder: Path, port: int) -> None:
    """Run a real Apache Kafka on this machine until interrupted."""
    click.echo(f"kafka: {brokers} broker(s) from 127.0.0.1:{port} on, files in {folder}", err=True)
    from streams.sandbox.kafka.foreground import run_in_foreground

    sys.exit(run_in_foreground(int(brokers), folder, port))
