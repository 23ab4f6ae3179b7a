"""The commands ``streams kafka``, ``streams demo`` and ``streams drill``."""

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


@click.command()
@click.option(
    "--actions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Actions of your own, JSON lines, instead of the built-in ones.",
)
@click.option("--keep", is_flag=True, help="Keep Kafka, lookup and worker running until interrupted.")
@click.option(
    "--mailer",
    metavar="COMMAND",
    help="Makes letters: is given some of the emails, JSON lines, on its standard input.",
)
def demo(actions: Path | None, keep: bool, mailer: str | None) -> None:
    """Show the whole path on this machine, with lookup failures."""
    click.echo("demo: starts Kafka, a lookup service and a worker on this machine", err=True)
    from streams.sandbox.demo import run_demo

    sys.exit(run_demo(actions=actions, keep=keep, mailer=mailer))


@click.command()
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".cache/drill.json"),
    show_default=True,
    help="Where the result goes as JSON.",
)
@click.option(
    "--count",
    "--actions",
    "actions",
    type=click.IntRange(min=1),
    metavar="NUMBER",
    default=1_400,
    show_default=True,
    help="So many actions of the organisation whose lookup service is dead.",
)
def drill(json_path: Path, actions: int) -> None:
    """Replay the incident on this machine: a dead lookup service."""
    from streams.sandbox.drill import run_drill

    sys.exit(run_drill(json_path, actions))
