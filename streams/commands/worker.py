"""The worker process, by Faust's own command line."""

from __future__ import annotations

import os
import sys

import click

from streams.settings.load import load_settings
from streams.settings.organisations_file import OrganisationsError


def run_worker(arguments: list[str]) -> None:
    """Run a worker until it is told to stop; exits with its code.

    Args:
        arguments: further arguments of ``faust worker``.
    """
    from faust.cli.faust import cli

    level = load_settings(os.environ).log_level
    try:
        # Quiet: a banner among JSON lines is none, and Faust's names a URL and a log that are not ours.
        options = ["--quiet", "-A", "streams.app", "worker", "-l", level]
        cli.main(args=[*options, *arguments], prog_name="streams")
    except OrganisationsError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(2)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
