"""The commands ``streams audit`` and ``streams resend``."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streams.commands.command_line import FAILED, NoAnswer, settings_in_force, try_to_write

if TYPE_CHECKING:
    from streams.commands.audit.moments import Moment
    from streams.commands.audit.outcome import AuditRange, AuditResult

F = TypeVar("F", bound=Callable[..., Any])


class MomentType(click.ParamType):
    """A time, a time ago, or an offset (:mod:`streams.commands.audit.moments`)."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        """Return the moment; fails for a text that is none."""
        from streams.commands.audit.moments import Moment, moment

        if isinstance(value, Moment):
            return value
        try:
            return moment(str(value), time.time())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


class DurationType(click.ParamType):
    """A number of seconds, or a number with a unit, as settings have it."""

    name = "duration"

    def __init__(self, least: float) -> None:
        """Refuse less than so many seconds."""
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds; fails for a text that is no duration, or one that is too short."""
        from streams.settings.values import seconds

        try:
            found = float(seconds(value))  # type: ignore[arg-type]  # a number, or a text for float() to refuse
        except ValueError:
            self.fail(f'{value!r} is no duration, as "30s", "5m" and "2h" are', param, ctx)
        if not self._least <= found < float("inf"):
            self.fail(f"{value!r}: {self._least:g} s is the least", param, ctx)
        return found


def _range_options(command: F) -> F:
    for option in (
        click.option(
            "--partition",
            "partitions",
            type=click.IntRange(min=0),
            multiple=True,
            help="Only actions of this partition; may be given several times.",
        ),
        click.option("--to", "end", type=MomentType(), metavar="MOMENT", help="Before then; default: now."),
        click.option(
            "--from",
            "begin",
            type=MomentType(),
            metavar="MOMENT",
            help='Actions from then on: "2026-11-24T10:00:00Z", "-2h", an offset. Default: all kept.',
        ),
    ):
        command = option(command)
    return command


def _range(begin: Moment | None, end: Moment | None, partitions: tuple[int, ...]) -> AuditRange:
    from streams.commands.audit.outcome import AuditRange

    for each in (begin, end):
        if each is not None and each.offset is not None and len(partitions) != 1:
            raise click.UsageError("an offset says something only with one --partition")
    if (
        begin is not None
        and end is not None
        and begin.milliseconds is not None
        and end.milliseconds is not None
        and end.milliseconds < begin.milliseconds
    ):
        raise click.UsageError("--to lies before --from")
    return AuditRange(begin, end, frozenset(partitions))


@contextlib.contextmanager
def _written(file: Path) -> Iterator[None]:
    """A file is written in here; raises NoAnswer if it cannot: 1 would say that an email is missing."""
    try:
        yield
    except OSError as error:
        raise NoAnswer(f"cannot write {file}: {error.strerror}") from None


@click.command()
@_range_options
@click.option(
    "--list", "listed", type=click.IntRange(min=0), default=20, show_default=True, help="Name so many."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--metrics-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.prom",
    help="Write the counts there too, for node-exporter's textfile collector.",
)
@click.option(
    "--watch",
    "every",
    type=DurationType(least=1),
    metavar="PAUSE",
    help='Audit again and again, with so long from one beginning to the next: "30s", "5m".',
)
def audit(
    begin: Moment | None,
    end: Moment | None,
    partitions: tuple[int, ...],
    listed: int,
    as_json: bool,
    metrics_file: Path | None,
    every: float | None,
) -> None:
    """Count: has every action that asks for an email exactly one?

    Reads the topics as a mailer does (committed records only), changes nothing. Actions that the group has
    not settled yet are in flight, not missing. Actions from before the group's first start were never read
    where it was started with ACTIONS_START=latest: they are missing to this count, so give --from.

    A batch that cannot be read is passed over and named: nobody can say what is in it.

    With --watch each audit is one line, or one JSON object; a place that is missing or doubled is named once.
    "--from -2h" then means the two hours before each of them. It goes on while Kafka does not answer, until
    Ctrl-C.

    Exit codes: 0 every action has its one email, 1 an action has none or two, or a batch cannot be read, 2
    wrong options or settings, 3 Kafka does not answer, a topic is missing, or FILE.prom cannot be written,
    130 interrupted.
    """
    from streams.commands.audit import metrics_file as for_collector
    from streams.commands.audit import report
    from streams.commands.audit.auditing import audit as run
    from streams.commands.audit.watching import Lines, watch
    from streams.commands.installation import answered, installation_of
    from streams.commands.progress_bar import ProgressBar

    settings = settings_in_force()
    wanted = _range(begin, end, partitions)
    if metrics_file is not None:
        with _written(metrics_file):
            try_to_write(metrics_file)
    topic = settings.actions_topic

    def once(elapsed: float) -> AuditResult:
        with ProgressBar() as bar:
            work = run(installation_of(settings), wanted.after(elapsed), bar.counting("records read"))
            found = answered(work)
        if metrics_file is not None:
            with _written(metrics_file):
                for_collector.write(metrics_file, for_collector.gauges(found, time.time()))
        return found

    if every is not None:
        lines = Lines(topic, listed)
        watch(
            once,
            every,
            (lambda found: click.echo(json.dumps(report.as_json(found, topic, listed))))
            if as_json
            else lines.show,
        )
    found = once(0.0)
    if as_json:
        click.echo(json.dumps(report.as_json(found, topic, listed), indent=2))
    else:
        click.echo("\n".join(report.as_lines(found, topic, listed)))
    sys.exit(0 if found.holds else FAILED)


@click.command()
@_range_options
@click.option("--yes", is_flag=True, help="Write them without asking.")
def resend(begin: Moment | None, end: Moment | None, partitions: tuple[int, ...], yes: bool) -> None:
    """Write the emails that an audit finds missing.

    Shows what is missing and, on a terminal, asks before anything is written; elsewhere nothing is without
    --yes. Always the two-button letter, with the id that the missing email would have had, reason no_lookup,
    and the header "resent: 1". What was resent is not missing any more: a second run writes nothing. Do not
    set the group's offsets back afterwards: the worker would write these emails again.

    Exit codes: 0 none is missing any more, 1 some still are, 2 wrong options or settings, 3 Kafka does not
    answer, a topic is missing, or a transaction failed, 130 interrupted.
    """
    from streams.commands.audit import report
    from streams.commands.audit.auditing import audit as run
    from streams.commands.audit.resend import resend as write
    from streams.commands.installation import answered, installation_of
    from streams.commands.progress_bar import ProgressBar

    settings = settings_in_force()
    installation = installation_of(settings)
    wanted = _range(begin, end, partitions)
    with ProgressBar() as bar:
        found = answered(run(installation, wanted, bar.counting("records read")))
    click.echo("\n".join(report.as_lines(found, settings.actions_topic, 20)))
    if not found.missing:
        click.echo("nothing to resend")
        return
    if not yes:
        question = f"Write {len(found.missing):,} two-button emails to {settings.emails_topic}?"
        if not sys.stdin.isatty():
            click.echo("dry run: nothing was written; --yes writes them")
            sys.exit(FAILED)
        if not click.confirm(question, default=False):
            sys.exit(FAILED)
    with ProgressBar() as bar:
        resent = answered(write(installation, wanted, found, bar.counting("records read")))
    click.echo(f"{len(resent.written):,} emails written")
    if resent.found_meanwhile:
        click.echo(f"{resent.found_meanwhile:,} were not missing any more")
    for owed in resent.impossible[:20]:
        click.echo(
            f"no email can be made for {settings.actions_topic}/{owed.id.partition}/{owed.id.offset}: "
            "it cannot be read, is gone, or its email would be too large",
            err=True,
        )
    sys.exit(FAILED if resent.impossible else 0)
