"""The worker process, by Faust's own command line."""

from __future__ import annotations

import os
import sys

import click

from streams.commands.machine_check import unmet
from streams.settings.load import load_settings
from streams.settings.organisations_file import OrganisationsError
from streams.settings.table import SettingsError


def run_worker(arguments: list[str]) -> None:
    """Run a worker until it is told to stop; exits with its code.

    Args:
        arguments: further arguments of ``faust worker``.

    Raises:
        SettingsError: a setting is wrong, or names what this machine does not have.
    """
    from faust.cli.faust import cli

    settings = load_settings(os.environ)
    if missing := unmet(settings, arguments):
        raise SettingsError(missing)
    try:
        # Quiet: a banner among JSON lines is none, and Faust's names a URL and a log that are not ours.
        options = ["--quiet", "-A", "streams.app", "worker", "-l", settings.log_level]
        cli.main(args=[*options, *arguments], prog_name="streams")
    except OrganisationsError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(2)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
