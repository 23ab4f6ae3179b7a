"""The command ``streams worker``: the worker process, by Faust's own command line."""

import sys

import click

from streams.commands.command_line import WrongUse, settings_in_force


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Run a worker. Further ARGUMENTS go to Faust's own worker command.

    Exit codes: 0 told to stop, 2 wrong options, settings or organisations file. Any other code: the worker
    met a state that it cannot trust; its log says which.
    """
    settings = settings_in_force()
    if sys.stderr.isatty():  # elsewhere all that is written is a log, of JSON lines perhaps
        servers = ",".join(settings.kafka_bootstrap_servers)
        click.echo(
            f"worker: from {settings.actions_topic} to {settings.emails_topic} at {servers}, "
            f"as group {settings.group_id}",
            err=True,
        )
    from streams.commands.machine_check import unmet
    from streams.settings.table import SettingsError

    if missing := unmet(settings, list(arguments)):
        raise WrongUse(str(SettingsError(missing)))
    run_worker(list(arguments), settings.log_level)


def run_worker(arguments: list[str], log_level: str) -> None:
    """Run a worker until it is told to stop; exits with its code.

    Args:
        arguments: further arguments of ``faust worker``.
        log_level: the least important messages that are logged.
    """
    from faust.cli.faust import cli

    from streams.settings.organisations_file import OrganisationsError
    from streams.settings.table import SettingsError

    try:
        # Quiet: a banner among JSON lines is none, and Faust's names a URL and a log that are not ours.
        options = ["--quiet", "-A", "streams.app", "worker", "-l", log_level]
        cli.main(args=[*options, *arguments], prog_name="streams")
    except (SettingsError, OrganisationsError) as error:
        raise WrongUse(str(error)) from None
