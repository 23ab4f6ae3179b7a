"""The command ``streams doctor``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys

import click

from streams.commands.typed_text import TypedText
from streams.settings.load import load_settings

_MARKS = {"ok": "ok     ", "note": "note   ", "warning": "WARNING", "problem": "PROBLEM"}
_COLOURS = {"warning": "yellow", "problem": "red"}


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

    Changes nothing, unless --probe or --ask is given. The exit code is the number of problems, 100 at most;
    warnings and notes do not count. What cannot be known from outside is said.
    """
    from streams.commands.doctor.examination import examine
    from streams.commands.doctor.findings import exit_code
    from streams.commands.installation import installation_of

    settings = load_settings(os.environ)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the findings say the same once
    try:
        findings = asyncio.run(
            examine(installation_of(settings), settings, os.environ, address=address, probe=probe)
        )
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            line = f"{_MARKS[finding.level]}  {finding.check}: {finding.text}"
            click.secho(line, fg=_COLOURS.get(finding.level))
            if finding.remedy:
                click.echo(f"           → {finding.remedy}")
        count = exit_code(findings)
        click.echo(f"{count} {'problem' if count == 1 else 'problems'}")
    sys.exit(exit_code(findings))
