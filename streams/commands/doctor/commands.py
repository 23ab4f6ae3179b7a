"""The command ``streams doctor``."""

import json
import os
import sys

import click

from streams.commands.command_line import settings_in_force
from streams.commands.typed_text import TypedText


@click.command()
@click.option(
    "--ask",
    "address",
    type=TypedText(),
    metavar="EMAIL",
    help="Ask every lookup about this address: use your own.",
)
@click.option("--probe", is_flag=True, help="Compare clocks: makes a topic, writes two records, removes it.")
@click.option("--problems-only", is_flag=True, help="Show nothing but the problems.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, with everything that is grouped.")
def doctor(address: str | None, probe: bool, problems_only: bool, as_json: bool) -> None:
    """Look at a live installation and say what is wrong.

    Changes nothing, unless --probe or --ask is given. What cannot be known from outside is said. Findings of
    one kind share a group: of more than ten, the first ten are shown.

    Exit codes, the first that fits: 2 wrong options, settings or organisations file; 3 Kafka does not answer;
    1 a problem; 0 none (warnings and notes do not count); 130 interrupted.
    """
    import asyncio
    import logging

    from streams.commands.doctor.examination import examine
    from streams.commands.doctor.findings import Severity, exit_code
    from streams.commands.doctor.report import show
    from streams.commands.installation import installation_of
    from streams.commands.progress_bar import ProgressBar

    settings = settings_in_force()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the findings say the same once
    with ProgressBar() as bar:
        findings, answers = asyncio.run(
            examine(
                installation_of(settings),
                settings,
                os.environ,
                address=address,
                probe=probe,
                begins=lambda check: bar.begin(f"looking at {check}"),
            )
        )
    shown = [each for each in findings if each.level is Severity.PROBLEM] if problems_only else findings
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in shown], indent=2))
    else:
        show(shown)
    sys.exit(exit_code(findings, answers))
