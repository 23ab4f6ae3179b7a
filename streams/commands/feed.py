"""The commands ``streams feed`` and ``streams status``: JSON lines of a file or pipe onto their topic."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from streams.commands.command_line import FAILED, INTERRUPTED, NoAnswer, counted, settings_in_force

if TYPE_CHECKING:
    from streams.commands.feeder import FeedReport
    from streams.commands.keyed_lines import Message

_EXIT_CODES = """

Exit codes: 0 every line was sent, blank ones excepted; 1 some were not; 2 wrong options or settings; 3 Kafka
does not answer, or the topic is missing; 130 interrupted."""


def _rate(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--rate", type=click.FloatRange(min=0, min_open=True), help=f"At most so many {what} a second."
    )


@click.command(
    help="""Put actions on the actions topic.

    One JSON object a line; "-" reads standard input. The key is orgId:contactRef. An action without a
    readable one is sent without a key."""
    + _EXIT_CODES
)
@click.argument("file", metavar="FILE.jsonl")
@_rate("actions")
def feed(file: str, rate: float | None) -> None:
    """Put actions on the actions topic."""
    from streams.commands.keyed_lines import action_message

    _feed(file, "actions", settings_in_force().actions_topic, action_message, rate)


@click.command(
    help="""Put supporter statuses on their topic.

    One JSON object a line; "-" reads standard input. A line with "forget": true, beside orgId and
    contactRef, makes the worker forget that supporter."""
    + _EXIT_CODES
)
@click.argument("file", metavar="FILE.jsonl")
@_rate("statuses")
def status(file: str, rate: float | None) -> None:
    """Put supporter statuses on their topic."""
    from streams.commands.keyed_lines import status_message

    _feed(file, "statuses", settings_in_force().status_topic, status_message, rate)


def _feed(
    file: str, what: str, topic: str, to_message: Callable[[bytes], Message], rate: float | None
) -> None:
    """Send a file and say what came of it."""
    import asyncio
    import logging

    from streams.commands.feeder import FeedError, FeedReport, feed
    from streams.commands.lines import read_blocks
    from streams.commands.progress_bar import ProgressBar
    from streams.settings.connection import client_options

    connection = client_options(settings_in_force())
    servers = ",".join(connection["bootstrap_servers"])
    # The client logs each attempt to connect; the sentence below says the same once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        # Unbuffered: a reading thread inside a buffered file would hold its lock at exit.
        source = open(0 if file == "-" else file, "rb", buffering=0, closefd=file != "-")  # noqa: SIM115  # below
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror}") from None
    name = "standard input" if file == "-" else file
    click.echo(f"sending {what} from {name} to {topic} at {servers}", err=True)
    size = os.fstat(source.fileno()).st_size  # bytes; 0 for a pipe
    report = FeedReport(topic)
    with source, ProgressBar() as bar:

        def show(now: FeedReport) -> None:
            nonlocal report
            report = now
            bar.show(f"{now.sent:,} {what} sent ({now.rate:,.0f}/s)", now.read_bytes, size)

        try:
            report = asyncio.run(feed(connection, topic, read_blocks(source), to_message, show, rate=rate))
        except FeedError as error:
            raise NoAnswer(str(error)) from None
        except OSError as error:
            raise click.ClickException(f"cannot read {name}: {error.strerror}") from None
        except KeyboardInterrupt:
            bar.close()
            click.echo(f"interrupted, with {report.sent:,} {what} acknowledged", err=True)
            sys.exit(INTERRUPTED)
    _conclude(report, what)


def _conclude(report: FeedReport, what: str) -> None:
    click.echo(
        f"sent {report.sent:,} {what} to {report.topic} in {report.seconds:.1f} s ({report.rate:,.0f}/s)"
    )
    if report.without_key:
        click.echo(f"{report.without_key:,} of them without a readable key, which the worker sets aside")
    if report.blank:
        click.echo(f"{counted(report.blank, 'blank line')} skipped")
    if report.not_sent:
        for line, reason in report.reasons:
            click.echo(f"line {line:,} not sent: {reason}", err=True)
        if report.not_sent > len(report.reasons):
            click.echo(f"and {report.not_sent - len(report.reasons):,} more lines not sent", err=True)
        click.echo(f"Error: {counted(report.not_sent, 'line')} could not be sent; all others were", err=True)
        sys.exit(FAILED)
