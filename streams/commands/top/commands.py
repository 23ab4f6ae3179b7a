"""The command ``streams top``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from streams.commands.command_line import FAILED, settings_in_force

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.observability.group_overview import GroupOverview, GroupView


@click.command()
@click.option("--once", is_flag=True, help="Look once, and end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a look, each on its line.")
def top(once: bool, as_json: bool) -> None:
    """Show all workers of the group, every 2 seconds.

    The consumer group says who its members are, and at which address each of them is asked. Run it where
    the workers' web ports can be reached. A worker that does not answer within a second is shown as silent.

    ACT/S are the actions that arrived, ONE/S and TWO/S the emails by variant, all a second. WAIT are the
    actions without an email yet, OLDEST is how long the oldest has waited. FAILED are the emails of the last
    minute whose lookup had failed, DOWN the organisations whose lookup is down, DEAD the dead letters of the
    last ten minutes.

    Exit codes: with --once 0 if every worker is ready, 1 if one is not or there is none; 2 wrong options or
    settings, 3 Kafka does not answer, 130 interrupted.
    """
    from streams.commands.installation import answered, installation_of
    from streams.observability.group_overview import GroupOverview

    installation = installation_of(settings_in_force())
    overview = GroupOverview(installation.group, installation.connection)
    view = answered(_look(overview, _printer(as_json), once=once))
    if view.ready < max(1, len(view.workers)):
        sys.exit(FAILED)


async def _look(overview: GroupOverview, show: Callable[[GroupView], None], *, once: bool) -> GroupView:
    """Show what there is now; unless `once`, go on until cancelled.

    Raises:
        KafkaError, TimeoutError: Kafka did not answer the first time.
    """
    import asyncio

    from streams.observability.group_overview import EVERY

    await overview.find()
    view = await overview.ask()
    show(view)
    while not once:
        await asyncio.sleep(EVERY)
        show(await overview.look())
    return view


def _printer(as_json: bool) -> Callable[[GroupView], None]:
    """Return what shows a view: as JSON, on a terminal in place of the one before, elsewhere below it."""
    import json

    from streams.commands.top.table import lines_of

    def as_object(view: GroupView) -> None:
        click.echo(json.dumps(view.document(), ensure_ascii=False))

    def as_text(view: GroupView) -> None:
        for line in lines_of(view):
            click.echo(line.text)
        click.echo()

    if as_json:
        return as_object
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return as_text
    return _screen()


def _screen() -> Callable[[GroupView], None]:
    """Return what draws a view over the one before, and leaves the last one on the terminal."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from streams.commands.top.table import lines_of

    console = Console(highlight=False)
    live = Live(console=console, auto_refresh=False, vertical_overflow="ellipsis")
    click.get_current_context().call_on_close(live.stop)

    def draw(view: GroupView) -> None:
        text = Text(no_wrap=False)
        for line in lines_of(view, console.width):
            text.append(f"{line.text}\n", style="red" if line.is_trouble else "")
        live.start()
        live.update(text, refresh=True)

    return draw
