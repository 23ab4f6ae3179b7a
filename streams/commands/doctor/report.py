"""Findings as text for people."""

from collections.abc import Iterable

import click

from streams.commands.command_line import counted
from streams.commands.doctor.findings import Finding, Severity

_MARKS = {"ok": "ok     ", "note": "note   ", "warning": "WARNING", "problem": "PROBLEM"}
_COLOURS = {"warning": "yellow", "problem": "red"}


def show(findings: Iterable[Finding]) -> None:
    """Print findings, each with its remedy, and how many are problems."""
    problems = 0
    for finding in findings:
        line = f"{_MARKS[finding.level]}  {finding.check}: {finding.text}"
        click.secho(line, fg=_COLOURS.get(finding.level))
        if finding.remedy:
            click.echo(f"           → {finding.remedy}")
        problems += finding.level is Severity.PROBLEM
    click.echo(counted(problems, "problem"))
