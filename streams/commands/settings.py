"""The command ``streams settings``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from streams.commands.command_line import WrongUse, settings_in_force

if TYPE_CHECKING:
    from streams.settings.table import EffectiveRow

#: Columns of a terminal below which the table would have cells of a few letters.
_TABLE_WIDTH = 140
_HEADINGS = ("Name", "Value", "Source", "Allowed", "Meaning")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def settings(as_json: bool) -> None:
    """Show every setting as it is in force, secrets masked.

    A table where it fits, else some lines for each setting. Where there is no terminal, COLUMNS says how wide
    it may be; unset, nothing is wrapped.

    Exit codes: 0 all is valid, the organisations file with it; 2 settings or organisations file are wrong.
    """
    from streams.settings.organisations import OrganisationsInForce
    from streams.settings.organisations_file import OrganisationsError
    from streams.settings.table import effective

    found = settings_in_force()
    rows = effective(found)
    if as_json:
        documents = [{**each.row._asdict(), "value": each.value, "source": each.source} for each in rows]
        click.echo(json.dumps(documents, indent=2))
    else:
        _show(rows)
    try:
        OrganisationsInForce(found, os.environ)
    except OrganisationsError as error:
        raise WrongUse(str(error)) from None


def _show(rows: list[EffectiveRow]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold", no_wrap=heading == "Name")
    for row, value, source in rows:
        name = f"{row.name}\nor {row.bare_name}" if row.bare_name else row.name
        cells = (name, _text(value), source, row.allowed_with_unit, row.meaning)
        table.add_row(*(Text(cell) for cell in cells), style=_style(source))
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:  # a pipe has no width
        console.width = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    with console.capture() as shown:
        if console.width >= _TABLE_WIDTH:
            console.print(table)
        else:
            for row, value, source in rows:
                name = f"{row.name} or {row.bare_name}" if row.bare_name else row.name
                console.print(Text(f"{name}: {_text(value) or 'not set'} ({source})", style=_style(source)))
                console.print(Padding(Text(f"{row.meaning}. Allowed: {row.allowed_with_unit}"), (0, 0, 0, 4)))
    click.echo(shown.get(), nl=False, color=console.is_terminal)


def _text(value: str | float | list[str] | None) -> str:
    return ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)


def _style(source: str) -> str:
    return "bold" if source == "environment" else ""
