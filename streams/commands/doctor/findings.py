"""What a check comes to. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How bad it is. Only problems count for the exit code."""

    OK = "ok"
    NOTE = "note"  # what a person should know, or what cannot be known
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One sentence on one thing that was looked at; no personal data, no secret."""

    level: Severity
    check: str  # what was looked at: brokers, topics, keys, …
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """Nothing is wrong here."""
    return Finding(Severity.OK, check, text)


def note(check: str, text: str, remedy: str = "") -> Finding:
    """Nothing is known to be wrong here."""
    return Finding(Severity.NOTE, check, text, remedy)


def warning(check: str, text: str, remedy: str) -> Finding:
    """It works, and may not go on to."""
    return Finding(Severity.WARNING, check, text, remedy)


def problem(check: str, text: str, remedy: str) -> Finding:
    """It does not work as promised."""
    return Finding(Severity.PROBLEM, check, text, remedy)


def exit_code(findings: Iterable[Finding]) -> int:
    """The number of problems, 100 at most: beyond 125, exit codes mean something else to a shell."""
    return min(100, sum(finding.level is Severity.PROBLEM for finding in findings))


def seconds(value: float) -> str:
    """A duration as a person says it."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:,.0f} {unit}"
    return f"{value:,.1f} s"
