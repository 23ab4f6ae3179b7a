"""The command ``streams trace``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from streams.commands.audit.commands import MomentType
from streams.commands.command_line import settings_in_force

if TYPE_CHECKING:
    from streams.commands.audit.moments import Moment
    from streams.commands.trace.subject import Subject


class _SubjectType(click.ParamType):
    name = "action"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Subject:
        from streams.commands.trace.subject import subject_of

        if isinstance(value, tuple):
            return value  # type: ignore[return-value]  # converted before
        try:
            return subject_of(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.command()
@click.argument("subject", type=_SubjectType(), metavar="ACTION")
@click.option(
    "--from",
    "begin",
    type=MomentType(),
    metavar="TIME",
    help='The action was written then or later: "2026-11-24T10:00:00Z", "-2h". Default: all kept.',
)
@click.option("--to", "end", type=MomentType(), metavar="TIME", help="It was written before then.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def trace(subject: Subject, begin: Moment | None, end: Moment | None, as_json: bool) -> None:
    """Find one action's email, or say why there is none.

    ACTION is an actionId, a place (topic:partition:offset of an action, a re-keyed action, an email or a dead
    letter), or an email's id. Shown are the action's place and time, which letter was decided, why, when and
    by which outcome of a lookup, and where the email lies; re-keying, dead letters, their retries and resent
    emails are followed. Nobody's address is shown. Changes nothing.

    An actionId is searched for in all actions that are kept: with --from, in those from then on.

    Exit codes: 0 it has its email, asks for none, or is in flight; 1 there is no such action, or it has no
    email, or two; 2 wrong options or settings; 3 nobody knows: Kafka does not answer, a topic is missing, or
    what was written at that time is no longer kept; 130 interrupted.
    """
    from streams.commands.installation import answered, installation_of
    from streams.commands.progress_bar import ProgressBar
    from streams.commands.trace import report
    from streams.commands.trace.following import trace as follow
    from streams.commands.trace.searching import Between, NotTraceable

    between = Between(_milliseconds(begin), _milliseconds(end))
    if between.begin is not None and between.end is not None and between.end < between.begin:
        raise click.UsageError("--to lies before --from")
    installation = installation_of(settings_in_force())
    try:
        with ProgressBar() as bar:
            found = answered(follow(installation, subject, between, bar.counting("records read")))
    except NotTraceable as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(report.as_json(found, installation.names), indent=2))
    else:
        click.echo("\n".join(report.as_lines(found, installation.names)))
    sys.exit(found.exit_code)


def _milliseconds(moment: Moment | None) -> int | None:
    if moment is not None and moment.milliseconds is None:
        raise click.UsageError(
            "an offset says nothing here: give a time, or the place topic:partition:offset"
        )
    return None if moment is None else moment.milliseconds
