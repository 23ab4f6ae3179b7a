"""The command ``streams decide``."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from streams.commands.command_line import FAILED, WrongUse, counted, settings_in_force

if TYPE_CHECKING:
    from streams.commands.decide.deciding import Decision
    from streams.settings.table import Settings
    from streams.statuses.row import Row


@click.command()
@click.argument("file", metavar="FILE.jsonl")
@click.option(
    "--table", "with_table", is_flag=True, help="With the statuses that the table has now, read from Kafka."
)
@click.option("--ask", is_flag=True, help="Ask the lookups: each is sent the addresses of its lines.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def decide(file: str, with_table: bool, ask: bool, as_json: bool) -> None:
    """Say what the worker would decide for actions.

    One action a line, as for `streams feed`; "-" reads standard input. The settings and the organisations
    file in force decide, by the worker's own code: which letter and why, or why none, or why it would become
    a dead letter. Nothing is written. Without --table no status is known, and Kafka is not needed. Without
    --ask no lookup is asked: a line that needs one is open. Nobody's address is shown.

    Exit codes, by the worst line: 0 each gets a letter, is open, or asks for none; 1 one would become a dead
    letter, or its lookup failed, or the file cannot be read; 2 wrong options, settings or organisations file;
    3 Kafka does not answer, or a topic is missing; 130 interrupted.
    """
    import asyncio

    from streams.commands.decide.deciding import asked, nobody_asked
    from streams.commands.decide.deciding import decide as decisions
    from streams.settings.organisations import OrganisationsInForce
    from streams.settings.organisations_file import OrganisationsError

    settings = settings_in_force()
    try:
        organisations = OrganisationsInForce(settings, os.environ)
    except OrganisationsError as error:
        raise WrongUse(str(error)) from None
    lines = _lines(file)
    rows = _rows(settings, lines) if with_table else {}
    counts: Counter[str] = Counter()
    worst = 0

    async def show() -> None:
        nonlocal worst
        async for each in decisions(lines, settings, organisations, rows, asked if ask else nobody_asked):
            click.echo(json.dumps(_document(each)) if as_json else _line(each))
            counts[each.variant or str(each.verdict)] += 1
            worst = max(worst, FAILED if each.is_bad else 0)

    asyncio.run(show())
    if not as_json:
        listed = ", ".join(f"{count:,} {what}" for what, count in counts.most_common())
        click.echo(f"{counted(counts.total(), 'action')}{f': {listed}' if listed else ''}", err=True)
    sys.exit(worst)


def _lines(file: str) -> list[bytes]:
    """All lines of a file or of standard input."""
    import asyncio

    from streams.commands.lines import Inflated, read_blocks

    async def read(source: Any) -> list[bytes]:
        return [line async for block in read_blocks(Inflated(source)) for line in block]

    try:
        with open(0 if file == "-" else file, "rb", buffering=0, closefd=file != "-") as source:
            return asyncio.run(read(source))
    except OSError as error:
        name = "standard input" if file == "-" else file
        raise click.ClickException(f"cannot read {name}: {error.strerror}") from None


def _rows(settings: Settings, lines: list[bytes]) -> dict[bytes, Row]:
    from streams.commands.action_content import content_of
    from streams.commands.installation import answered, describe, installation_of
    from streams.commands.progress_bar import ProgressBar
    from streams.commands.table_rows import rows_of

    installation = installation_of(settings)
    keys = {key for line in lines if (key := content_of(line, settings.confirm_repeats_at).key)}

    async def read() -> dict[bytes, Row]:
        described = await describe(installation)
        return await rows_of(installation, described, keys, bar.counting("rows read"))

    with ProgressBar() as bar:
        return answered(read())


def _document(decision: Decision) -> dict[str, Any]:
    lookup = None
    if decision.lookup_outcome is not None:
        lookup = {"outcome": decision.lookup_outcome, "cause": decision.lookup_cause}
    return {
        "line": decision.line,
        "verdict": str(decision.verdict),
        "action_id": decision.action_id,
        "org_id": decision.org_id,
        "variant": decision.variant,
        "reason": decision.reason,
        "lookup": lookup,
        "ignored": decision.ignored,
        "error_class": decision.error_class,
        "json_path": decision.json_path,
    }


def _line(decision: Decision) -> str:
    from streams.commands.decide.deciding import Verdict
    from streams.commands.line_check import would_be_dead_letter
    from streams.messages.decode import ErrorClass

    match decision.verdict:
        case Verdict.EMAIL:
            lookup = ""
            if decision.lookup_outcome is not None:
                cause = f", {decision.lookup_cause}" if decision.lookup_cause else ""
                lookup = f" (lookup: {decision.lookup_outcome}{cause})"
            what = f"{decision.variant}, {decision.reason}{lookup}"
        case Verdict.OPEN:
            what = f"open: the lookup of organisation {decision.org_id} decides; --ask asks it"
        case Verdict.IGNORED:
            what = f"no email: it asks for none ({decision.ignored})"
        case _:
            why = ErrorClass(decision.error_class or ErrorClass.INTERNAL_ERROR)
            what = f"no email: {would_be_dead_letter(why, decision.json_path or '$')}"
    action = "" if decision.action_id is None else f"actionId {decision.action_id}  "
    return f"{decision.line}  {action}{what}"
