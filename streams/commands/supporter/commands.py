"""The commands ``streams supporter get|forget``."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from streams.commands.command_line import FAILED, NoAnswer, counted, settings_in_force
from streams.commands.typed_text import TypedText

if TYPE_CHECKING:
    from streams.commands.supporter.footprint import Lying
    from streams.commands.supporter.standing import Standing
    from streams.kafka.topics import TopicNames
    from streams.statuses.row import Row

_KEY = re.compile(r"(-?\d{1,19}):(.*\S.*)", re.ASCII)


class _KeyType(TypedText):
    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = super().convert(value, param, ctx)
        if text == "-":
            text = sys.stdin.readline().strip()
        if _KEY.fullmatch(text) is None:
            self.fail("a supporter is orgId:contactRef, as in 310:q2hX", param, ctx)  # says nobody's name
        return text


_key = click.argument("key", type=_KeyType(), metavar="KEY")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.group()
def supporter() -> None:
    """Look up or forget one supporter of one organisation."""


@supporter.command()
@_key
@_json
def get(key: str, as_json: bool) -> None:
    """Show one supporter's status in the table.

    KEY is orgId:contactRef; "-" reads it from standard input, so that it stands in no list of processes. The
    row is read from the table's changelog: whether it comes from the CRM or from a lookup, how old it is,
    when it expires; beside it, what the CRM wrote last, and whether the workers have read that.

    Exit codes: 0 the status is known, 1 it is not, or has expired; 2 wrong options or settings, 3 Kafka does
    not answer, or a topic is missing, 130 interrupted.
    """
    from streams.commands.installation import answered, installation_of
    from streams.commands.progress_bar import ProgressBar
    from streams.commands.supporter.standing import standing

    installation = installation_of(settings_in_force())
    with ProgressBar() as bar:
        found = answered(standing(installation, key.encode(), bar.counting("records read")))
    if as_json:
        click.echo(json.dumps(_standing(key, found, installation.names), indent=2))
    else:
        click.echo("\n".join(_standing_lines(found, installation.names)))
    sys.exit(FAILED if found.letter is None else 0)


@supporter.command()
@_key
@click.option("--yes", is_flag=True, help="Forget them.")
@_json
def forget(key: str, yes: bool, as_json: bool) -> None:
    """Forget one supporter's status, and say where else their data lies.

    KEY is orgId:contactRef, or "-" for standard input. With --yes a record without a value goes to the status
    topic: workers take the row out of the table, out of its changelog and out of their stores. Actions,
    emails and dead letters cannot be deleted one by one: shown are how many there are, where, and when Kafka
    will have deleted them. Every topic is read as a whole.

    What lies elsewhere is not looked at: at the platform, in the CRM, with the mailer and its letters, in
    backups. Logs and metrics hold no supporter's data.

    Exit codes: 0 done, 2 wrong options or settings, 3 Kafka does not answer, or a topic is missing, 130
    interrupted.
    """
    from streams.commands.feeder import FeedError, feed
    from streams.commands.installation import answered, installation_of
    from streams.commands.keyed_lines import Message
    from streams.commands.lines import blocks_of
    from streams.commands.progress_bar import ProgressBar
    from streams.commands.supporter.footprint import footprint

    installation = installation_of(settings_in_force())
    names = installation.names
    with ProgressBar() as bar:
        lies = answered(footprint(installation, key.encode(), bar.counting("records read")))
    if yes:
        tombstone = Message(key.encode(), None)
        try:
            answered(
                feed(installation.connection, names.statuses, blocks_of([b"forget"]), lambda _: tombstone)
            )
        except FeedError as error:
            raise NoAnswer(str(error)) from None
    if as_json:
        click.echo(json.dumps(_footprint(key, lies, yes), indent=2))
        return
    for line in map(_lying_line, lies):
        click.echo(line)
    if yes:
        click.echo(f"forgotten: the workers read it from {names.statuses}, and take the row out of the table")
    else:
        click.echo("dry run: nothing was written; --yes forgets the status")


def _org_id(key: str) -> int:
    return int(key.partition(":")[0])


def _standing(key: str, found: Standing, names: TopicNames) -> dict[str, Any]:
    said = found.said
    return {
        "org_id": _org_id(key),
        "known": found.letter is not None,
        "variant": found.letter and str(found.letter[0]),
        "reason": found.letter and str(found.letter[1]),
        "row": found.row
        and {
            **_row(found.row),
            "source": "crm" if found.row.expires_at is None else "lookup",
            "age_seconds": round(found.now - found.row.as_of, 3),
            "expires_at": None if found.row.expires_at is None else _time(found.row.expires_at),
            **_place(names.changelog, found.place),
        },
        "crm": said
        and {
            "row": said.row and _row(said.row),
            "forgotten": said.is_forgotten,
            "refused": said.refused,
            "ingested": said.is_ingested,
            **_place(names.statuses, said.place),
        },
    }


def _row(row: Row) -> dict[str, Any]:
    return {"subscribed": row.subscribed, "as_of": _time(row.as_of)}


def _place(topic: str, place: Any) -> dict[str, Any]:
    return {"topic": topic, "partition": place.partition, "offset": place.offset}


def _time(seconds: float) -> str:
    from streams.commands.audit.report import time_of

    return time_of(int(seconds * 1000))


def _standing_lines(found: Standing, names: TopicNames) -> list[str]:
    from streams.commands.doctor.findings import seconds

    row, said = found.row, found.said
    lines = []
    if row is None or found.place is None:
        lines.append("table: no row; a lookup decides, or, where there is none, the letter has two buttons")
    else:
        what = "subscribed" if row.subscribed else "not subscribed"
        source = "the CRM" if row.expires_at is None else "a lookup"
        age = seconds(found.now - row.as_of)
        lines.append(f"table: {what}, says {source} as of {_time(row.as_of)}, {age} ago")
        if row.expires_at is None:
            lines.append("  it does not expire")
        elif row.expires_at <= found.now:
            lines.append(f"  it expired at {_time(row.expires_at)}: it counts as missing")
        else:
            lines.append(f"  it expires at {_time(row.expires_at)}, in {seconds(row.expires_at - found.now)}")
        lines.append(f"  in {names.changelog}/{found.place.partition}/{found.place.offset}")
    if found.letter is not None:
        lines.append(f"  the next letter: {found.letter[0]}, {found.letter[1]}")
    if said is None:
        return [*lines, f"CRM: {names.statuses} has no record of them"]
    last = f"{names.statuses}/{said.place.partition}/{said.place.offset}"
    if said.is_forgotten:
        lines.append(f"CRM: forgotten, by {last}")
    elif said.row is None:
        lines.append(f"CRM: none of its records can be read, the last one is {last}")
    else:
        what = "subscribed" if said.row.subscribed else "not subscribed"
        lines.append(f"CRM: {what} as of {_time(said.row.as_of)}, its last record is {last}")
    if said.refused:
        lines.append(f"  {counted(said.refused, 'record')} of it cannot be read, and became dead letters")
    if not said.is_ingested:
        lines.append("  the workers have not read the last one yet")
    return lines


def _footprint(key: str, lies: list[Lying], yes: bool) -> dict[str, Any]:
    return {
        "org_id": _org_id(key),
        "forgotten": yes,
        "topics": [
            {
                "topic": each.topic,
                "records": each.records,
                "newest": _time(each.newest / 1000) if each.records else None,
                "compacted": each.is_compacted,
                "deleted_by": None if each.deleted_by is None else _time(each.deleted_by / 1000),
                "places": [{"partition": place.partition, "offset": place.offset} for place in each.places],
            }
            for each in lies
        ],
    }


def _lying_line(lying: Lying) -> str:
    if not lying.records:
        return f"{lying.topic}: nothing"
    first = ", ".join(f"{place.partition}/{place.offset}" for place in lying.places[:5])
    more = ", …" if lying.records > 5 else ""
    if lying.deleted_by is not None:
        until = f"deleted by {_time(lying.deleted_by / 1000)}"
    elif lying.is_compacted:
        until = "deleted when the log is compacted, after the status is forgotten"
    else:
        until = "kept, as far as can be seen, for ever"
    return f"{lying.topic}: {counted(lying.records, 'record')} ({first}{more}); {until}"
