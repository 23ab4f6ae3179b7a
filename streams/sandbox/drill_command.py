"""The command ``streams drill``."""

import sys
from pathlib import Path

import click


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
    "--actions",
    type=click.IntRange(min=1),
    default=1_400,
    show_default=True,
    help="Of the organisation whose lookup service is dead.",
)
def drill(json_path: Path, actions: int) -> None:
    """Replay the incident on this machine: a dead lookup service."""
    from streams.sandbox.drill import run_drill

    sys.exit(run_drill(json_path, actions))
