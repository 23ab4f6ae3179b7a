"""The command line: ``python -m streams`` or ``streams``.

Every command imports what it needs when it runs, so that a look at the settings does not wait for Kafka's
client. An error that a person can mend is one sentence on standard error, never a traceback.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.commands.acls import acls
from streams.commands.audit.commands import audit, resend
from streams.commands.dead_letters_commands import dead_letters
from streams.commands.doctor.commands import doctor
from streams.commands.progress_bar import progress_bar
from streams.commands.typed_text import TypedText
from streams.observability.output import write_in_any_locale
from streams.settings.load import load_settings
from streams.settings.table import SettingsError, effective

if TYPE_CHECKING:
    from rich.progress import Progress

    from streams.commands.feeder import FeedReport
    from streams.commands.keyed_lines import Message

PROGRESS_AFTER = 2.0  # seconds; a feed that is done by then needs no progress
PROGRESS_LINES = 5.0  # seconds between two lines of progress where there is no terminal

_TABLE_HEAD = ("Name", "Value", "Source", "Allowed", "Meaning")


class OneSentence(click.Group):
    """A group whose commands end with one sentence and exit code 2 when the settings are wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The commands in the order of this file: what runs first, first."""
        return list(self.commands)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line as click does, in whatever locale."""
        write_in_any_locale()
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exits with 2 on SettingsError."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)


@click.group(cls=OneSentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="confirmation-streams")
def main() -> None:
    """Turns campaign actions into confirmation emails on Kafka, exactly once."""


@main.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def worker(arguments: tuple[str, ...]) -> None:
    """Run a worker. Further ARGUMENTS go to Faust's own worker command."""
    settings = load_settings(os.environ)
    if sys.stderr.isatty():  # elsewhere all that is written is a log, of JSON lines perhaps
        servers = ",".join(settings.kafka_bootstrap_servers)
        click.echo(
            f"worker: from {settings.actions_topic} to {settings.emails_topic} at {servers}, "
            f"as group {settings.group_id}",
            err=True,
        )
    from streams.commands.worker import run_worker

    run_worker(list(arguments))


@main.command()
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".cache/kafka"),
    show_default=True,
    help="Where the brokers keep their files.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=9092,
    show_default=True,
    help="Of the first broker.",
)
def kafka(brokers: str, folder: Path, port: int) -> None:
    """Run a real Apache Kafka on this machine until interrupted."""
    click.echo(f"kafka: {brokers} broker(s) from 127.0.0.1:{port} on, files in {folder}", err=True)
    from streams.sandbox.kafka.foreground import run_in_foreground

    sys.exit(run_in_foreground(int(brokers), folder, port))


@main.command()
@click.argument("file", metavar="FILE.jsonl")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="At most so many actions a second.")
def feed(file: str, rate: float | None) -> None:
    """Put actions on the actions topic.

    One JSON object a line; "-" reads standard input. The key is orgId:contactRef. An action without a
    readable one is sent without a key.
    """
    from streams.commands.keyed_lines import action_message

    _feed(file, "actions", load_settings(os.environ).actions_topic, action_message, rate)


@main.command()
@click.argument("file", metavar="FILE.jsonl")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="At most so many statuses a second."
)
def status(file: str, rate: float | None) -> None:
    """Put supporter statuses on their topic.

    One JSON object a line; "-" reads standard input. A line with "forget": true, beside orgId and
    contactRef, makes the worker forget that supporter.
    """
    from streams.commands.keyed_lines import status_message

    _feed(file, "statuses", load_settings(os.environ).status_topic, status_message, rate)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def settings(as_json: bool) -> None:
    """Show every setting as it is in force, secrets masked."""
    rows = effective(load_settings(os.environ))
    if as_json:
        documents = [{**each.row._asdict(), "value": each.value, "source": each.source} for each in rows]
        click.echo(json.dumps(documents, indent=2))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for head in _TABLE_HEAD:
        table.add_column(head, overflow="fold", no_wrap=head == "Name")
    for row, value, source in rows:
        shown = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
        name = f"{row.name}\nor {row.bare_name}" if row.bare_name else row.name
        cells = (name, shown, source, row.allowed_with_unit, row.meaning)
        style = "bold" if source == "environment" else None
        table.add_row(*(Text(cell) for cell in cells), style=style)
    console = Console()
    if not console.is_terminal:  # a pipe has no width: nothing is wrapped or cut
        console.width = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    console.print(table)


@main.command()
@click.option(
    "--actions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Actions of your own, JSON lines, instead of the built-in ones.",
)
@click.option("--keep", is_flag=True, help="Keep Kafka, lookup and worker running until interrupted.")
@click.option(
    "--mailer",
    metavar="COMMAND",
    help="Makes letters: is given some of the emails, JSON lines, on its standard input.",
)
def demo(actions: Path | None, keep: bool, mailer: str | None) -> None:
    """Show the whole path on this machine, with lookup failures."""
    click.echo("demo: starts Kafka, a lookup service and a worker on this machine", err=True)
    from streams.sandbox.demo import run_demo

    sys.exit(run_demo(actions=actions, keep=keep, mailer=mailer))


@main.command()
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".cache/drill.json"),
    show_default=True,
    help="Where the result goes as JSON.",
)
@click.option(
    "--actions",
    type=click.IntRange(min=1),
    default=1_400,
    show_default=True,
    help="Of the organisation whose lookup service is dead.",
)
def drill(json_path: Path, actions: int) -> None:
    """Replay the incident on this machine: a dead lookup service."""
    from streams.sandbox.drill import run_drill

    sys.exit(run_drill(json_path, actions))


@main.command()
@click.option("--org", "org_id", type=click.IntRange(min=1), required=True, help="The organisation's orgId.")
@click.option("--email", type=TypedText(), required=True, help="The address to ask about.")
@click.option(
    "--contact-ref", type=TypedText(), help="Default: base64url(sha256(address)), as Proca makes it."
)
def lookup(org_id: int, email: str, contact_ref: str | None) -> None:
    """Ask an organisation's lookup service once, by hand.

    With the settings in force.
    """
    from streams.commands.lookup import ask_by_hand

    sys.exit(ask_by_hand(org_id, email, contact_ref))


def _feed(
    file: str, what: str, topic: str, to_message: Callable[[bytes], Message], rate: float | None
) -> None:
    """Send a file and say what came of it; exits with 1 unless every line but blank ones was sent."""
    from streams.commands.feeder import FeedError, feed
    from streams.commands.lines import read_blocks
    from streams.settings.connection import client_options

    connection = client_options(load_settings(os.environ))
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
    with source, _Progress(what, os.fstat(source.fileno()).st_size) as progress:
        try:
            report = asyncio.run(
                feed(connection, topic, read_blocks(source), to_message, progress.show, rate=rate)
            )
        except FeedError as error:
            progress.close()
            raise click.ClickException(str(error)) from None
        except OSError as error:
            progress.close()
            raise click.ClickException(f"cannot read {name}: {error.strerror}") from None
        except KeyboardInterrupt:
            progress.close()
            click.echo(f"interrupted, with {progress.sent:,} {what} acknowledged", err=True)
            sys.exit(130)
    _conclude(report, what)


def _conclude(report: FeedReport, what: str) -> None:
    click.echo(
        f"sent {report.sent:,} {what} to {report.topic} in {report.seconds:.1f} s ({report.rate:,.0f}/s)"
    )
    if report.without_key:
        click.echo(f"{report.without_key:,} of them without a readable key, which the worker sets aside")
    if report.blank:
        click.echo(f"{report.blank:,} blank {'line' if report.blank == 1 else 'lines'} skipped")
    if report.not_sent:
        for line, reason in report.reasons:
            click.echo(f"line {line:,} not sent: {reason}", err=True)
        if report.not_sent > len(report.reasons):
            click.echo(f"and {report.not_sent - len(report.reasons):,} more lines not sent", err=True)
        lines = "line" if report.not_sent == 1 else "lines"
        raise click.ClickException(f"{report.not_sent:,} {lines} could not be sent; all others were")


class _Progress:
    """Says how far a feed is: a bar on a terminal, a line now and then elsewhere, nothing for a short one."""

    def __init__(self, what: str, size: int) -> None:
        self._report: FeedReport | None = None
        self._what = what
        self._size = size  # bytes; 0 for a pipe
        self._started = self._last = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def sent(self) -> int:
        """Lines acknowledged so far."""
        return self._report.sent if self._report is not None else 0

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def show(self, report: FeedReport) -> None:
        """Called with each block of lines."""
        self._report = report
        now = time.monotonic()
        if now - self._started < PROGRESS_AFTER:
            return
        if sys.stderr.isatty():
            self._show_bar(report)
        elif now - self._last >= PROGRESS_LINES:
            self._last = now
            share = f", {report.read_bytes / self._size:.0%} of the file" if self._size else ""
            click.echo(f"{report.sent:,} {self._what} sent ({report.rate:,.0f}/s{share})", err=True)

    def _show_bar(self, report: FeedReport) -> None:
        if self._bar is None:
            self._bar = progress_bar()
            self._bar.add_task("", total=self._size or None)
            self._bar.start()
        text = f"{report.sent:,} {self._what} sent ({report.rate:,.0f}/s)"
        self._bar.update(self._bar.task_ids[0], description=text, completed=report.read_bytes)


main.add_command(audit)
main.add_command(resend)
main.add_command(dead_letters)
main.add_command(doctor)
main.add_command(acls)

if __name__ == "__main__":
    main(prog_name="streams")
