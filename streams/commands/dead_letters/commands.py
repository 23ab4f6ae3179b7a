"""The commands ``streams dead-letters list|show|retry``, and what ``accept`` stands beside."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from streams.commands.audit.commands import MomentType
from streams.commands.command_line import FAILED, counted, settings_in_force
from streams.commands.dead_letters.accept import accept

if TYPE_CHECKING:
    from streams.commands.audit.moments import Moment
    from streams.commands.dead_letters.retry import RetryResult
    from streams.commands.topic_reader import RecordId

_PLACE = re.compile(r"(?:[A-Za-z0-9._-]+/)?(\d{1,10})/(\d{1,18})", re.ASCII)


class _PlaceType(click.ParamType):
    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> RecordId:
        from streams.commands.topic_reader import RecordId

        if isinstance(value, RecordId):
            return value
        if (match := _PLACE.fullmatch(str(value))) is None:
            self.fail(
                f"{value!r} is no place on the dead letters topic: PARTITION/OFFSET, as `list` shows it",
                param,
                ctx,
            )
        return RecordId(int(match[1]), int(match[2]))


class _ErrorClassType(click.ParamType):
    name = "class"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from streams.messages.decode import ErrorClass

        if value not in list(ErrorClass):
            self.fail(f"{value!r} is no error class: known are {', '.join(ErrorClass)}", param, ctx)
        return str(value)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's signature
        param: click.Parameter,  # noqa: ARG002  # click's signature
        incomplete: str,
    ) -> list[CompletionItem]:
        from streams.messages.decode import ErrorClass

        return [CompletionItem(each) for each in ErrorClass if each.startswith(incomplete)]


_of_class = click.option(
    "--class",
    "--reason",
    "error_class",
    type=_ErrorClassType(),
    metavar="CLASS",
    help="Only letters of this error class, as `list` shows it.",
)


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at dead letters, and give them a second chance."""


dead_letters.add_command(accept)


@dead_letters.command("list")
@_of_class
@click.option(
    "--from",
    "begin",
    type=MomentType(),
    metavar="TIME",
    help='Only letters from then on: "2026-11-24T10:00:00Z", "-2h". Default: all kept.',
)
@click.option(
    "--count-by",
    "field",
    type=click.Choice(["class", "path", "topic", "partition", "hour", "day"]),
    help="Count them by this instead; topic and partition: of the records that they are made of.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(error_class: str | None, begin: Moment | None, field: str | None, as_json: bool) -> None:
    """List dead letters, never their content.

    Place, error class, where in the JSON the fault is, time, size of the value in bytes, and the place that
    the record came from; `retried` marks those that `retry` has put back.

    Exit codes: 0 listed, 2 wrong options or settings, 3 Kafka does not answer, or the topic is missing, 130
    interrupted, 141 nobody reads the list any more.
    """
    from streams.commands.dead_letters.letters import letters
    from streams.commands.dead_letters.listing import counts, document, line, retried_mark
    from streams.commands.dead_letters.retry import retried_if_told
    from streams.commands.installation import answered, installation_of
    from streams.commands.progress_bar import ProgressBar

    if begin is not None and begin.milliseconds is None:
        raise click.UsageError("an offset says nothing here: give a time")
    installation = installation_of(settings_in_force())
    since = None if begin is None else begin.milliseconds
    with ProgressBar() as bar:
        found = answered(letters(installation, bar.counting("records read"), since))
    chosen = [letter for letter in found if error_class in (None, letter.error_class)]
    if field is not None:
        for value, count in counts(chosen, field):
            click.echo(json.dumps({field: value, "count": count}) if as_json else f"{count:>9,}  {value}")
    else:
        retried, unknown = answered(retried_if_told(installation, chosen))
        for letter in chosen:
            mark = retried_mark(letter, retried, unknown)
            click.echo(json.dumps(document(letter, mark)) if as_json else line(letter, mark))
    if not as_json:
        click.echo(counted(len(chosen), "dead letter"), err=True)


@dead_letters.command()
@click.argument("place", type=_PlaceType())
def show(place: RecordId) -> None:
    """Print one dead letter as it is: its headers, an empty line, its value byte for byte.

    PLACE is PARTITION/OFFSET as `list` shows it. What is printed is personal data.

    Exit codes: 0 printed, 1 there is no such dead letter, 2 wrong options or settings, 3 Kafka does not
    answer, or the topic is missing, 130 interrupted.
    """
    from streams.commands.dead_letters.letters import show as read
    from streams.commands.installation import answered, installation_of

    record = answered(read(installation_of(settings_in_force()), place))
    if record is None:
        raise click.ClickException(f"there is no record at {place.partition}/{place.offset}")
    click.echo("warning: this is personal data; do not paste it into tickets or chats", err=True)
    out = click.get_binary_stream("stdout")
    for name, value in (("key", record.key), *record.headers):
        out.write(b"%s: %s\n" % (name.encode("utf-8", "surrogateescape"), b"" if value is None else value))
    out.write(b"\n")
    out.write(record.value or b"")
    out.flush()


@dead_letters.command()
@click.argument("places", type=_PlaceType(), nargs=-1, metavar="[PLACE]...")
@_of_class
@click.option("--yes", is_flag=True, help="Write them.")
def retry(places: tuple[RecordId, ...], error_class: str | None, yes: bool) -> None:
    """Put dead letters back onto the topic that they came from.

    Without PLACE (PARTITION/OFFSET as `list` shows it): all that have not been retried yet. Nothing is
    written without --yes. A letter is retried once; whoever names it has it retried again. A retried action
    is a new action: it gets an email, or becomes a new dead letter.

    Exit codes: 0 done, 1 a PLACE has no dead letter, 2 wrong options or settings, 3 Kafka does not answer, a
    topic is missing, or a transaction failed, 130 interrupted.
    """
    from streams.commands.dead_letters.retry import plan
    from streams.commands.dead_letters.retry import retry as write
    from streams.commands.installation import answered, installation_of
    from streams.commands.progress_bar import ProgressBar

    installation = installation_of(settings_in_force())
    with ProgressBar() as bar:
        work = (write if yes else plan)(
            installation, frozenset(places), error_class, bar.counting("records read")
        )
        found = answered(work)
    _conclude(found, yes)
    missing = set(places) - {letter.id for letter in (*found.chosen, *(each for each, _ in found.refused))}
    for place in sorted(missing):
        click.echo(f"there is no such dead letter: {place.partition}/{place.offset}", err=True)
    sys.exit(FAILED if missing else 0)


def _conclude(found: RetryResult, written: bool) -> None:
    for letter, why in found.refused:
        click.echo(f"cannot be retried: {letter.id.partition}/{letter.id.offset}: {why}", err=True)
    if found.already:
        click.echo(f"{found.already:,} have been retried before")
    if written:
        click.echo(f"{counted(len(found.chosen), 'dead letter')} retried")
        return
    from streams.commands.dead_letters.listing import line

    for letter in found.chosen:
        click.echo(line(letter))
    which = "it" if len(found.chosen) == 1 else "them"
    click.echo(
        f"dry run: {counted(len(found.chosen), 'dead letter')} would be retried; --yes retries {which}"
    )
