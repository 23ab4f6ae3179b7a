"""The commands ``streams dead-letters list|show|retry``."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from streams.commands.audit.commands import answered
from streams.settings.load import load_settings

if TYPE_CHECKING:
    from streams.commands.audit.matching import Place
    from streams.commands.dead_letters import Letter, Retry

_PLACE = re.compile(r"(?:[A-Za-z0-9._-]+/)?(\d{1,10})/(\d{1,18})", re.ASCII)


class _PlaceType(click.ParamType):
    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        from streams.commands.audit.matching import Place

        if isinstance(value, Place):
            return value
        if (match := _PLACE.fullmatch(str(value))) is None:
            self.fail(
                f"{value!r} is no place on the dead letters topic: PARTITION/OFFSET, as `list` shows it",
                param,
                ctx,
            )
        return Place(int(match[1]), int(match[2]))


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at dead letters, and give them a second chance."""


@dead_letters.command("list")
@click.option("--class", "error_class", help="Only letters of this error class.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(error_class: str | None, as_json: bool) -> None:
    """List dead letters, never their content.

    Place, error class, where in the JSON the fault is, time, size of the value in bytes, and the place that
    the record came from.
    """
    from streams.commands.dead_letters import letters
    from streams.commands.installation import installation_of

    found = answered(letters(installation_of(load_settings(os.environ))))
    chosen = [letter for letter in found if error_class in (None, letter.error_class)]
    for letter in chosen:
        click.echo(json.dumps(_document(letter)) if as_json else _line(letter))
    if not as_json:
        click.echo(f"{len(chosen):,} dead letters", err=True)


def _document(letter: Letter) -> dict[str, Any]:
    from streams.commands.audit.report import time_of

    source = letter.source
    return {
        "place": f"{letter.place.partition}/{letter.place.offset}",
        "class": letter.error_class,
        "path": letter.json_path,
        "time": time_of(letter.timestamp),
        "size": letter.size,
        "from": f"{letter.topic}/{source.partition}/{source.offset}" if source else None,
        "shortened": letter.shortened,
    }


def _line(letter: Letter) -> str:
    each = _document(letter)
    return (
        f"{each['place']:<12} {each['class']:<15} {each['path']:<20} {each['time']} {each['size']:>9,}"
        f"  {each['from'] or '-'}{'  shortened' if letter.shortened else ''}"
    )


@dead_letters.command()
@click.argument("place", type=_PlaceType())
def show(place: Place) -> None:
    """Print one dead letter as it is: its headers, an empty line, its value byte for byte.

    PLACE is PARTITION/OFFSET as `list` shows it. What is printed is personal data.
    """
    from streams.commands.dead_letters import show as read
    from streams.commands.installation import installation_of

    record = answered(read(installation_of(load_settings(os.environ)), place))
    if record is None:
        raise click.ClickException(f"there is no record at {place.partition}/{place.offset}")
    click.echo("warning: this is personal data; do not paste it into tickets or chats", err=True)
    out = click.get_binary_stream("stdout")
    for name, value in (("key", record.key), *record.headers):
        out.write(b"%s: %s\n" % (name.encode("utf-8", "replace"), b"" if value is None else value))
    out.write(b"\n")
    out.write(record.value or b"")
    out.flush()


@dead_letters.command()
@click.argument("places", type=_PlaceType(), nargs=-1, metavar="[PLACE]...")
@click.option("--class", "error_class", help="Only letters of this error class.")
@click.option("--yes", is_flag=True, help="Write them.")
def retry(places: tuple[Place, ...], error_class: str | None, yes: bool) -> None:
    """Put dead letters back onto the topic that they came from.

    Without PLACE (PARTITION/OFFSET as `list` shows it): all that have not been retried yet. Nothing is
    written without --yes. A letter is retried once; whoever names it has it retried again. A retried action
    is a new action: it gets an email, or becomes a new dead letter. Exit code 3 if Kafka does not answer.
    """
    from streams.commands import dead_letters as topic
    from streams.commands.installation import installation_of

    installation = installation_of(load_settings(os.environ))
    work = topic.retry if yes else topic.plan
    found = answered(work(installation, frozenset(places), error_class))
    _conclude(found, yes)
    missing = set(places) - {letter.place for letter in (*found.chosen, *(each for each, _ in found.refused))}
    for place in sorted(missing):
        click.echo(f"there is no such dead letter: {place.partition}/{place.offset}", err=True)
    sys.exit(1 if missing else 0)


def _conclude(found: Retry, written: bool) -> None:
    for letter, why in found.refused:
        click.echo(f"cannot be retried: {letter.place.partition}/{letter.place.offset}: {why}", err=True)
    if found.already:
        click.echo(f"{found.already:,} have been retried before")
    if written:
        click.echo(f"{len(found.chosen):,} dead letters retried")
        return
    for letter in found.chosen:
        click.echo(_line(letter))
    click.echo(f"dry run: {len(found.chosen):,} dead letters would be retried; --yes retries them")
