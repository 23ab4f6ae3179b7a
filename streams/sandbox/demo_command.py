"""The command ``streams demo``."""

import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--actions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
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
