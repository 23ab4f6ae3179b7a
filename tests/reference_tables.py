"""The tables of settings and metrics in docs/reference.md, made from the code that they describe.

``python -m tests.reference_tables`` writes them anew between their markers.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from streams.lookup.breaker import State
from streams.messages.decode import Cause, ErrorClass, Outcome, Reason, Variant
from streams.observability.metric_catalogue import BREAKER_UNKNOWN, CATALOGUE, STORE_SET_ASIDE, Described
from streams.settings.table import SettingRow, describe
from streams.statuses.store_owner import SetAside

REFERENCE = Path(__file__).parent.parent / "docs/reference.md"
#: Base units that a metric's name may end in, as Prometheus' naming rules have it.
UNITS = ("seconds", "bytes", "ratio")
#: Labels with a closed set of values.
CLOSED: dict[str, Iterable[str]] = {
    "variant": Variant,
    "reason": Reason,
    "outcome": Outcome,
    "cause": Cause,
    "error_class": ErrorClass,
    "state": [*State, BREAKER_UNKNOWN],
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; a ``|`` within a cell is escaped."""
    head = list(head)
    cells = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def code(text: str) -> str:
    """Return a text as Markdown's code, a dash where there is none."""
    return f"`{text}`" if text else "—"


def settings_table(rows: Iterable[SettingRow]) -> str:
    """Return the table of settings."""
    return table(
        ("setting", "meaning", "default", "allowed"),
        (
            (
                " or ".join(code(name) for name in (row.name, row.bare_name) if name),
                f"{row.meaning}{' (secret: masked wherever it is shown)' if row.secret else ''}",
                code(row.default),
                row.allowed_with_unit,
            )
            for row in rows
        ),
    )


def shown_name(described: Described) -> str:
    """Return the name that queries use: a counter's ends in ``_total``."""
    return described.name + ("_total" if described.kind == "counter" else "")


def unit(described: Described) -> str:
    """Return the base unit in a metric's name, or a dash: it counts what it is named after."""
    return next((unit for unit in UNITS if described.name.endswith(f"_{unit}")), "—")


def metrics_table(catalogue: Iterable[Described]) -> str:
    """Return the table of metrics."""
    return table(
        ("metric", "type", "labels", "unit", "meaning"),
        (
            (
                code(shown_name(described)),
                described.kind,
                ", ".join(code(label) for label in described.labels) or "—",
                unit(described),
                described.meaning,
            )
            for described in catalogue
        ),
    )


def labels_table() -> str:
    """Return the table of labels and the values that they can have."""
    closed = {code(label): values for label, values in CLOSED.items()}
    closed[f"{code('reason')} of {code(shown_name(STORE_SET_ASIDE))}"] = SetAside
    rows = ((label, ", ".join(code(value) for value in values)) for label, values in closed.items())
    return table(("label", "values"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "settings": lambda: settings_table(describe()),
    "metrics": lambda: f"{metrics_table(CATALOGUE)}\n{labels_table()}",
}


def renewed(text: str) -> str:
    """Return the reference with its tables as they should be.

    Raises:
        ValueError: a marker is missing, or there more than once.
    """
    for name, make in TABLES.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->\n)", re.DOTALL)
        found = between.findall(text)
        if len(found) != 1:
            raise ValueError(f"<!-- {name} --> … <!-- /{name} --> is there {len(found)} times, not once")
        made = make()
        text = between.sub(lambda match, made=made: f"{match[1]}\n{made}\n{match[2]}", text)
    return text


if __name__ == "__main__":
    REFERENCE.write_text(renewed(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
