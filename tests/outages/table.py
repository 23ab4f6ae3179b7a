"""The table of docs/operations.md."""

import re
from collections.abc import Sequence

from tests.outages.outages import OUTAGES, Outage, Teller
from tests.outages.watch import Told, Watch

BEGIN, END = "<!-- outages: make outages ARGS=--keep writes this table -->", "<!-- outages: end -->"
_LONGEST = 150  # characters of what somebody said
_MOST = 2  # sentences in a cell; of alerts, which are short, all are shown


def row(outage: Outage, watch: Watch) -> str:
    """Return an outage's row."""
    cells = [outage.title, "leave" if watch.emails_leave else "wait"]
    cells += [_cell(watch.told[teller], None if teller is Teller.ALERT else _MOST) for teller in Teller]
    return f"| {' | '.join(cells)} |"


def table(rows: Sequence[str]) -> str:
    """Return the table."""
    head = ["outage", "emails", *Teller]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *rows])


def titles(text: str) -> list[str]:
    """Return the outages in a document's table."""
    return list(_rows(text.partition(BEGIN)[2].partition(END)[0]))


def cells_of(text: str) -> dict[str, dict[Teller, str]]:
    """Return what each teller told of each outage, as a document's table has it."""
    rows = _rows(text.partition(BEGIN)[2].partition(END)[0])
    split = {title: re.split(r"(?<!\\)\|", line)[3:-1] for title, line in rows.items()}
    return {
        title: dict(zip(Teller, (cell.strip() for cell in cells), strict=True))
        for title, cells in split.items()
    }


def into(text: str, rows: dict[str, str]) -> str:
    """Put rows, by title, into a document's table; those of other outages stay.

    Raises:
        ValueError: the markers are not there.
    """
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the table: {BEGIN} … {END}")
    kept = _rows(old) | rows
    ordered = [kept[outage.title] for outage in OUTAGES if outage.title in kept]
    return f"{before}{BEGIN}\n{table(ordered)}\n{END}{after}"


def _rows(table: str) -> dict[str, str]:
    return {line.split("|")[1].strip(): line for line in table.strip().splitlines()[2:]}


def _cell(told: Sequence[Told], most: int | None) -> str:
    if not told:
        return "nothing"
    first = sorted(told, key=lambda each: each.by_a_library)[:most]
    return "; ".join(f"{each.seconds:.0f} s: {_shown(each.text)}" for each in sorted(first))


def _shown(text: str) -> str:
    text = text.replace("|", "\\|").replace("<", "‹").replace(">", "›")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rsplit(' ', 1)[0]} …"
