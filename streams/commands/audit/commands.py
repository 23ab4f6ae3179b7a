"""The commands ``streams audit`` and ``streams resend``."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streams.settings.load import load_settings

if TYPE_CHECKING:
    from streams.commands.audit.moments import Moment
    from streams.commands.audit.outcome import Range

T = TypeVar("T")

COULD_NOT_LOOK = 3
"""Exit code where Kafka does not answer, or nobody can be told: 1 would say that something is missing."""

F = TypeVar("F", bound=Callable[..., Any])


class _MomentType(click.ParamType):
    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        from streams.commands.audit.moments import Moment, moment

        if isinstance(value, Moment):
            return value
        try:
            return moment(str(value), time.time())
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def _range_options(command: F) -> F:
    for option in (
        click.option(
            "--partition",
            "partitions",
            type=click.IntRange(min=0),
            multiple=True,
            help="Only actions of this partition; may be given several times.",
        ),
        click.option("--to", "end", type=_MomentType(), metavar="MOMENT", help="Before then; default: now."),
        click.option(
            "--from",
            "begin",
            type=_MomentType(),
            metavar="MOMENT",
            help='Actions from then on: "2026-11-24T10:00:00Z", "-2h", an offset. Default: all kept.',
        ),
    ):
        command = option(command)
    return command


def _range(begin: Moment | None, end: Moment | None, partitions: tuple[int, ...]) -> Range:
    from streams.commands.audit.outcome import Range

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
    return Range(begin, end, frozenset(partitions))


def answered(work: Coroutine[Any, Any, T]) -> T:
    """Run something that talks to Kafka; exits with COULD_NOT_LOOK and one sentence if it does not answer."""
    from aiokafka.errors import KafkaError

    from streams.commands.installation import TopicMissing
    from streams.commands.transactions import NotWritten
    from streams.kafka.connection_check import access_problem
    from streams.settings.connection import client_options

    # Records come by the million, and none is part of a cycle: looking for one took a quarter of the time.
    gc.set_threshold(500_000)
    # The client logs each attempt to connect; the sentence below says the same once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # After a failure it also leaves futures behind that nobody asked for.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(work)
    except (KafkaError, OSError, TimeoutError) as error:
        why = asyncio.run(access_problem(client_options(load_settings(os.environ))))
        click.echo(f"Error: {why or f'Kafka does not answer ({type(error).__name__})'}", err=True)
    except (TopicMissing, NotWritten) as error:
        click.echo(f"Error: {error}", err=True)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    sys.exit(COULD_NOT_LOOK)


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
def audit(
    begin: Moment | None,
    end: Moment | None,
    partitions: tuple[int, ...],
    listed: int,
    as_json: bool,
    metrics_file: Path | None,
) -> None:
    """Count: has every action that asks for an email exactly one?

    Reads the topics as a mailer does (committed records only), changes nothing. Exit code 1 if an action is
    missing its email or has two, 3 if Kafka does not answer or FILE.prom cannot be written. Actions that the
    group has not settled yet are in flight, not missing. Actions from before the group's first start were
    never read where it was started with ACTIONS_START=latest: they are missing to this count, so give --from.
    """
    from streams.commands.audit import metrics_file as for_collector
    from streams.commands.audit import report
    from streams.commands.audit.auditing import audit as run
    from streams.commands.installation import installation_of
    from streams.commands.progress_bar import Watching

    settings = load_settings(os.environ)
    wanted = _range(begin, end, partitions)
    with Watching("records") as watching:
        found = answered(run(installation_of(settings), wanted, watching.show))
    topic = settings.actions_topic
    if as_json:
        click.echo(json.dumps(report.as_json(found, topic, listed), indent=2))
    else:
        click.echo("\n".join(report.as_lines(found, topic, listed)))
    if metrics_file is not None:
        try:
            for_collector.write(metrics_file, for_collector.gauges(found, time.time()))
        except OSError as error:
            click.echo(f"Error: cannot write {metrics_file}: {error.strerror}", err=True)
            sys.exit(COULD_NOT_LOOK)
    sys.exit(0 if found.holds else 1)


@click.command()
@_range_options
@click.option("--yes", is_flag=True, help="Write them without asking.")
def resend(begin: Moment | None, end: Moment | None, partitions: tuple[int, ...], yes: bool) -> None:
    """Write the emails that an audit finds missing.

    Shows what is missing and, on a terminal, asks before anything is written; elsewhere nothing is without
    --yes. Always the two-button letter, with the id that the missing email would have had, reason no_lookup,
    and the header "resent: 1". What was resent is not missing any more: a second run writes nothing. Do not
    set the group's offsets back afterwards: the worker would write these emails again. Exit code 1 if any is
    still missing, 3 if Kafka does not answer.
    """
    from streams.commands.audit import report
    from streams.commands.audit.auditing import audit as run
    from streams.commands.audit.resend import resend as write
    from streams.commands.installation import installation_of
    from streams.commands.progress_bar import Watching

    settings = load_settings(os.environ)
    installation = installation_of(settings)
    wanted = _range(begin, end, partitions)
    with Watching("records") as watching:
        found = answered(run(installation, wanted, watching.show))
    click.echo("\n".join(report.as_lines(found, settings.actions_topic, 20)))
    if not found.missing:
        click.echo("nothing to resend")
        return
    if not yes:
        question = f"Write {len(found.missing):,} two-button emails to {settings.emails_topic}?"
        if not sys.stdin.isatty():
            click.echo("dry run: nothing was written; --yes writes them")
            sys.exit(1)
        if not click.confirm(question, default=False):
            sys.exit(1)
    with Watching("records") as watching:
        resent = answered(write(installation, wanted, found, watching.show))
    click.echo(f"{len(resent.written):,} emails written")
    if resent.found_meanwhile:
        click.echo(f"{resent.found_meanwhile:,} were not missing any more")
    for owed in resent.impossible[:20]:
        click.echo(
            f"no email can be made for {settings.actions_topic}/{owed.place.partition}/{owed.place.offset}: "
            "it cannot be read, is gone, or its email would be too large",
            err=True,
        )
    sys.exit(1 if resent.impossible else 0)
