"""Findings as text for people."""

from collections.abc import Iterable

import click

from streams.commands.command_line import counted
from streams.commands.doctor.findings import Finding, Severity

_MARKS = {"ok": "ok     ", "note": "note   ", "warning": "WARNING", "problem": "PROBLEM"}
_COLOURS = {"warning": "yellow", "problem": "red"}


#: So many findings of one kind are shown, and the others counted.
_SHOWN = 10


def show(findings: Iterable[Finding]) -> None:
    """Print findings, with what helps, and how many are problems.

    Findings of one kind (the same level, check and remedy) stand together, at the place of the first.
    """
    kinds: dict[tuple[Severity, str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.level, finding.check, finding.remedy), []).append(finding)
    for (level, check, remedy), same in kinds.items():
        # Without a remedy nothing says that they are about one thing.
        shown = same[:_SHOWN] if remedy else same
        for finding in shown:
            click.secho(f"{_MARKS[level]}  {check}: {finding.text}", fg=_COLOURS.get(level))
        if more := len(same) - len(shown):
            click.secho(f"{_MARKS[level]}  {check}: and {more:,} more like these", fg=_COLOURS.get(level))
        if remedy:
            click.echo(f"           → {remedy}")
    problems = [len(same) for (level, _, _), same in kinds.items() if level is Severity.PROBLEM]
    click.echo(counted(sum(problems), "problem"))
