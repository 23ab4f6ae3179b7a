"""All workers as text: what is wrong with the group, one row for each worker, and why not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from streams.commands.command_line import counted
from streams.observability.group_overview import GroupView
from streams.observability.worker_summary import Figures, WorkerSummary

UNKNOWN = "–"
_GAP = 2  # spaces between two columns


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        head: its name.
        cell: makes a worker's cell.
        total: makes the cell of all workers together; None: it has none.
        rank: where the line is too narrow, the highest rank is left out first.
    """

    head: str
    cell: Callable[[WorkerSummary], str]
    total: Callable[[Figures], str] | None = None
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, and whether it is about trouble."""

    text: str
    is_trouble: bool = False


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def _rate(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if 0 < value < 9.95 else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Return a duration for people: 0.4 s, 12 s, 3 min, 2 h, 4 d."""
    if seconds is None:
        return UNKNOWN
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def _oldest(figures: Figures) -> str:
    is_idle = figures.oldest_age_seconds is None and figures.waiting == 0
    return "none" if is_idle else duration(figures.oldest_age_seconds)


def _ready(worker: WorkerSummary) -> str:
    return "silent" if worker.ready is None else "yes" if worker.ready else "no"


def _down(worker: WorkerSummary) -> str:
    return UNKNOWN if worker.ready is None else f"{len(worker.lookups_down)}"


def _figures(head: str, cell: Callable[[Figures], str], rank: int = 0) -> Column:
    return Column(head, cell, cell, rank)


COLUMNS = (
    Column("WORKER", lambda each: each.worker or UNKNOWN),
    Column("ADDRESS", lambda each: each.address or UNKNOWN, rank=4),
    Column("READY", _ready),
    _figures("PART", lambda each: _number(each.partitions), rank=1),
    _figures("ACT/S", lambda each: _rate(each.actions_per_second)),
    _figures("ONE/S", lambda each: _rate(each.one_button_per_second)),
    _figures("TWO/S", lambda each: _rate(each.two_button_per_second)),
    _figures("WAIT", lambda each: _number(each.waiting)),
    _figures("OLDEST", _oldest),
    _figures("FAILED", lambda each: _number(each.lookups_failed), rank=2),
    Column("DOWN", _down),
    _figures("DEAD", lambda each: _number(each.dead_letters)),
    Column("UP", lambda each: duration(each.up_seconds), rank=3),
    Column("VERSION", lambda each: each.version or UNKNOWN, rank=5),
)
#: Columns that begin at the left; numbers end at the right.
_TEXTS = {"WORKER", "ADDRESS", "READY", "VERSION", "BREAKER", "NEXT PROBE"}


def lines_of(view: GroupView, width: int | None = None) -> Iterator[Line]:
    """Return the text of a view.

    Args:
        view: of the group.
        width: of a line, in characters; columns that do not fit are left out. None: nothing is left out.
    """
    workers = counted(len(view.workers), "worker")
    head = f"group {view.group}: {workers}, {view.ready} ready, {view.silent} silent"
    yield Line(f"{head}; {view.problem}" if view.problem else head, view.problem is not None)
    if not view.workers:
        return
    yield from _table(view, width)
    for worker in view.workers:
        if worker.problem is not None:
            yield Line(f"{worker.worker or 'a worker'}: {worker.problem}", is_trouble=True)
    for label, number in Counter(label for each in view.workers for label in each.lookups_down).most_common():
        yield Line(f"the lookup of {label} is down, seen by {counted(number, 'worker')}", is_trouble=True)


def _table(view: GroupView, width: int | None) -> Iterator[Line]:
    of_all = len(view.workers) - view.silent
    rows = [
        [column.head for column in COLUMNS],
        [column.total(view.totals) if column.total else "" for column in COLUMNS],
        *([column.cell(worker) for column in COLUMNS] for worker in view.workers),
    ]
    rows[1][0] = f"all {of_all}" if not view.silent else f"the {of_all} that answer"
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    shown = _fitting(widths, width)
    for at, text in enumerate(aligned([[row[number] for number in shown] for row in rows])):
        yield Line(text, at > 1 and view.workers[at - 2].problem is not None)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Return the lines of a table; the first row has the names of its columns."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if head in _TEXTS else cell.rjust(width)
            for head, cell, width in zip(rows[0], row, widths, strict=True)
        ]
        yield (" " * _GAP).join(cells).rstrip()


def _fitting(widths: Sequence[int], width: int | None) -> list[int]:
    shown = list(range(len(COLUMNS)))
    while width is not None and sum(widths[at] + _GAP for at in shown) - _GAP > width:
        last = max(shown, key=lambda at: COLUMNS[at].rank)
        if not COLUMNS[last].rank:
            break
        shown.remove(last)
    return shown
