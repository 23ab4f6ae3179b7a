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
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def doctor(address: str | None, probe: bool, as_json: bool) -> None:
    """Look at a live installation and say what is wrong.

    Changes nothing, unless --probe or --ask is given. What cannot be known from outside is said.

    Exit codes: the number of problems, 100 at most (warnings and notes do not count; a Kafka that does not
    answer is one problem); 2 also for wrong options or settings, 130 interrupted.
    """
    import asyncio
    import logging

    from streams.commands.doctor.examination import examine
    from streams.commands.doctor.findings import exit_code
    from streams.commands.doctor.report import show
    from streams.commands.installation import installation_of
    from streams.commands.progress_bar import ProgressBar

    settings = settings_in_force()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the findings say the same once
    with ProgressBar() as bar:
        findings = asyncio.run(
            examine(
                installation_of(settings),
                settings,
                os.environ,
                address=address,
                probe=probe,
                begins=lambda check: bar.begin(f"looking at {check}"),
            )
        )
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        show(findings)
    sys.exit(exit_code(findings))
