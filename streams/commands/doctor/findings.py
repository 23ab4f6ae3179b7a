"""What a check comes to. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from streams.commands.command_line import FAILED, NO_ANSWER, WRONG_USE

#: What was looked at, where it is the organisations file.
ORGANISATIONS = "organisations"


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


def wrong_organisations(error: Exception) -> Finding:
    """The organisations file is wrong; the error's text says where."""
    return problem(ORGANISATIONS, str(error), "mend the organisations file")


def exit_code(findings: Iterable[Finding], kafka_answers: bool) -> int:
    """The exit code that means this everywhere; the first that fits.

    WRONG_USE if the organisations file is wrong, NO_ANSWER if Kafka does not answer, FAILED if there is a
    problem, else 0.
    """
    with_problems = {finding.check for finding in findings if finding.level is Severity.PROBLEM}
    if ORGANISATIONS in with_problems:
        return WRONG_USE
    if not kafka_answers:
        return NO_ANSWER
    return FAILED if with_problems else 0


def seconds(value: float) -> str:
    """A duration as a person says it."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:,.0f} {unit}"
    return f"{value:,.1f} s"
