"""The commands ``streams feed`` and ``streams status``: JSON lines of a file or pipe onto their topic."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import click

from streams.commands.command_line import FAILED, INTERRUPTED, NoAnswer, counted, settings_in_force

if TYPE_CHECKING:
    from streams.commands.feed_report import FeedReport
    from streams.commands.keyed_lines import Message

_EXIT_CODES = """

The worker's own decoder reads each line first. A line of which it would make a dead letter is refused, with
its number, the field and what is allowed there. If a file has such a line, nothing of it is sent; of a pipe,
the other lines are sent. What gzip has packed is unpacked.

Exit codes: 0 every line was sent, blank ones excepted; 1 some were not; 2 wrong options or settings; 3 Kafka
does not answer, or the topic is missing; 130 interrupted."""


def _options(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in (
            click.option(
                "--as-is", is_flag=True, help="Send also lines of which the worker will make dead letters."
            ),
            click.option(
                "--rate",
                type=click.FloatRange(min=0, min_open=True),
                help=f"At most so many {what} a second.",
            ),
            click.argument("file", metavar="FILE.jsonl"),
        ):
            command = option(command)
        return command

    return add


@click.command(
    help="""Put actions on the actions topic.

    One JSON object a line; "-" reads standard input. The key is orgId:contactRef."""
    + _EXIT_CODES
)
@_options("actions")
def feed(file: str, rate: float | None, as_is: bool) -> None:
    """Put actions on the actions topic."""
    from streams.commands.keyed_lines import action_message
    from streams.commands.line_check import checked_action

    settings = settings_in_force()
    topic = settings.actions_topic
    checked = None if as_is else checked_action(topic, settings.confirm_repeats_at)
    _feed(file, "actions", topic, action_message, checked, rate)


@click.command(
    help="""Put supporter statuses on their topic.

    One JSON object a line; "-" reads standard input. A line with "forget": true, beside orgId and
    contactRef, makes the worker forget that supporter."""
    + _EXIT_CODES
)
@_options("statuses")
def status(file: str, rate: float | None, as_is: bool) -> None:
    """Put supporter statuses on their topic."""
    from streams.commands.keyed_lines import status_message
    from streams.commands.line_check import checked_status

    topic = settings_in_force().status_topic
    _feed(file, "statuses", topic, status_message, None if as_is else checked_status(), rate)


def _feed(
    file: str,
    what: str,
    topic: str,
    as_is: Callable[[bytes], Message],
    checked: Callable[[bytes], Message] | None,
    rate: float | None,
) -> None:
    """Send a file and say what came of it; as it is, unless there is something that checks its lines."""
    import asyncio
    import logging

    from streams.commands.feed_report import FeedReport, check
    from streams.commands.feeder import FeedError, feed
    from streams.commands.lines import Inflated, read_blocks
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
    about = os.fstat(source.fileno())
    is_file = stat.S_ISREG(about.st_mode)  # else a pipe, which can be read once only
    report = FeedReport(topic)
    with source, ProgressBar() as bar:

        def show(now: FeedReport, done: str) -> None:
            so_far, size = (source.tell(), about.st_size) if is_file else (now.read_bytes, 0)  # bytes
            bar.show(f"{done} ({now.rate:,.0f}/s)" if now.sent else done, so_far, size)

        def note(now: FeedReport) -> None:
            nonlocal report
            report = now
            show(now, f"{now.sent:,} {what} sent")

        async def send() -> FeedReport:
            if is_file and checked is not None:
                begin = source.tell()
                found = await check(
                    read_blocks(Inflated(source)),
                    checked,
                    lambda now: show(now, f"{now.lines:,} {what} checked"),
                )
                if found.not_sent:
                    return found
                source.seek(begin)
            click.echo(f"sending {what} from {name} to {topic} at {servers}", err=True)
            lines = read_blocks(Inflated(source))
            return await feed(connection, topic, lines, checked or as_is, note, rate=rate)

        try:
            report = asyncio.run(send())
        except FeedError as error:
            raise NoAnswer(str(error)) from None
        except OSError as error:
            raise click.ClickException(f"cannot read {name}: {error.strerror}") from None
        except KeyboardInterrupt:
            bar.close()
            click.echo(f"interrupted, with {report.sent:,} {what} acknowledged", err=True)
            sys.exit(INTERRUPTED)
    if report.only_checked:
        _refuse(report, "refused, nothing sent; --as-is sends also what becomes a dead letter")
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
        _refuse(report, "could not be sent; all others were")


def _refuse(report: FeedReport, conclusion: str) -> NoReturn:
    """Say which lines were not sent, and end with what this means for the others."""
    for line, reason in report.reasons:
        click.echo(f"line {line:,} not sent: {reason}", err=True)
    if report.not_sent > len(report.reasons):
        click.echo(f"and {report.not_sent - len(report.reasons):,} more lines not sent", err=True)
    if report.pretty_printed:
        click.echo(
            "This looks like JSON that is written on many lines. Each line must be one JSON object:"
            " `jq -c .` writes it so, and `jq -c '.[]'` the objects of an array.",
            err=True,
        )
    click.echo(f"Error: {counted(report.not_sent, 'line')} {conclusion}", err=True)
    sys.exit(FAILED)
