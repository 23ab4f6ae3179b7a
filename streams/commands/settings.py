"""The command ``streams settings``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from streams.commands.command_line import WrongUse, settings_in_force

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.settings.table import EffectiveRow

#: Columns of a terminal below which the table would have cells of a few letters.
_TABLE_WIDTH = 140
_HEADINGS = ("Name", "Value", "Source", "Allowed", "Meaning")


@click.command()
@click.option("--changed", is_flag=True, help="Only what the environment sets.")
@click.option("--verbose", is_flag=True, help="Also the default of each.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def settings(changed: bool, verbose: bool, as_json: bool) -> None:
    """Show every setting as it is in force, secrets masked.

    A table where it fits, else some lines for each setting. Where there is no terminal, COLUMNS says how wide
    it may be; unset, nothing is wrapped.

    Exit codes: 0 all is valid, the organisations file with it; 2 settings or organisations file are wrong.
    """
    from streams.settings.organisations import OrganisationsInForce
    from streams.settings.organisations_file import OrganisationsError
    from streams.settings.table import effective

    found = settings_in_force()
    rows = [row for row in effective(found) if not changed or row.source == "environment"]
    if as_json:
        documents = [{**each.row._asdict(), "value": each.value, "source": each.source} for each in rows]
        click.echo(json.dumps(documents, indent=2))
    elif not rows:
        click.echo("every setting has its default")
    else:
        _show(rows, [*_HEADINGS[:3], "Default", *_HEADINGS[3:]] if verbose else _HEADINGS)
    try:
        OrganisationsInForce(found, os.environ)
    except OrganisationsError as error:
        raise WrongUse(str(error)) from None


def _show(rows: list[EffectiveRow], headings: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "Name")
    for each in rows:
        cells = {**_cells(each), "Name": _cells(each)["Name"].replace(" or ", "\nor ")}
        table.add_row(*(Text(cells[heading]) for heading in headings), style=_style(each.source))
    console = Console()
    whole = not console.is_terminal and "COLUMNS" not in os.environ  # a pipe has no width
    if whole:
        console.width = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    with console.capture() as shown:
        if whole or console.width >= _TABLE_WIDTH:
            console.print(table)
        else:
            for each in rows:
                cells = _cells(each)
                line = f"{cells['Name']}: {cells['Value'] or 'not set'} ({cells['Source']})"
                console.print(Text(line, style=_style(each.source)))
                more = f". Default: {cells['Default'] or 'not set'}" if "Default" in headings else ""
                text = f"{cells['Meaning']}. Allowed: {cells['Allowed']}{more}"
                console.print(Padding(Text(text), (0, 0, 0, 4)))
    click.echo(shown.get(), nl=False, color=console.is_terminal)


def _cells(each: EffectiveRow) -> dict[str, str]:
    row = each.row
    return {
        "Name": f"{row.name} or {row.bare_name}" if row.bare_name else row.name,
        "Value": _text(each.value),
        "Source": each.source,
        "Default": row.default,
        "Allowed": row.allowed_with_unit,
        "Meaning": row.meaning,
    }


def _text(value: str | float | list[str] | None) -> str:
    return ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)


def _style(source: str) -> str:
    return "bold" if source == "environment" else ""
