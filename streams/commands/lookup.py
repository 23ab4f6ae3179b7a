"""The command ``streams lookup``."""

import json
import sys

import click

from streams.commands.command_line import FAILED, settings_in_force
from streams.commands.typed_text import TypedText


@click.command()
@click.option("--org", "org_id", type=click.IntRange(min=1), required=True, help="The organisation's orgId.")
@click.option("--email", type=TypedText(), required=True, help="The address to ask about.")
@click.option(
    "--contact-ref",
    type=TypedText(),
    help="Default: a made-up one; Proca's cannot be computed from an address.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def lookup(org_id: int, email: str, contact_ref: str | None, as_json: bool) -> None:
    """Ask an organisation's lookup service once, by hand.

    With the settings in force.

    Exit codes: 0 it answered, 1 it failed, 2 wrong options, settings or organisations file, or this
    organisation has no lookup, 130 interrupted.
    """
    settings = settings_in_force()
    from streams.commands import lookup_by_hand as by_hand

    asked = by_hand.ask_by_hand(settings, org_id, email, contact_ref)
    if as_json:
        click.echo(json.dumps(by_hand.as_json(asked), indent=2))
    else:
        click.echo("\n".join(by_hand.as_lines(asked)))
    sys.exit(FAILED if asked.failed else 0)
