"""The command ``streams breaker``, and ``retry``: have a lookup service tried again at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.command_line import FAILED, WrongUse, settings_in_force

if TYPE_CHECKING:
    from streams.commands.installation import Installation
    from streams.observability.group_overview import GroupOverview, GroupView


@click.group(invoke_without_command=True)
@click.option("--org", "org_id", type=click.IntRange(min=1), help="Only this organisation's, by its orgId.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def breaker(ctx: click.Context, org_id: int | None, as_json: bool) -> None:
    """Show the circuit breakers of lookups.

    Without a command: each organisation whose breaker is not closed, and what each worker says of it. All
    workers of the group are asked, as by `streams top`. With --org: the same of this one, closed or not.

    BREAKER is closed, open (nobody is asked), or half-open (one probe is). SINCE is how long it has not been
    closed. NEXT PROBE is when the service is tried again: with the next action that needs it, once the pause
    is over. FAILED of ASKED are the questions of the last minute.

    Exit codes: 0 every worker answers and no breaker shown is open, 1 one is, a worker does not answer, or
    there is none; 2 wrong options or settings, 3 Kafka does not answer, 130 interrupted.
    """
    if ctx.invoked_subcommand is not None:
        if org_id is not None or as_json:
            raise click.UsageError("--org and --json are of `streams breaker` without a command")
        return
    import json

    from streams.commands.breaker.view import breakers_of, document, lines_of
    from streams.commands.installation import answered, installation_of
    from streams.observability.group_overview import GroupOverview

    installation = installation_of(settings_in_force())
    view = answered(_ask(GroupOverview(installation.group, installation.connection, organisation=org_id)))
    if as_json:
        click.echo(json.dumps(document(view, org_id), ensure_ascii=False))
    else:
        for line in lines_of(view, org_id):
            click.echo(line)
    if not view.workers or view.silent or any(each.not_closed for each in breakers_of(view, org_id)):
        sys.exit(FAILED)


async def _ask(overview: GroupOverview) -> GroupView:
    """Find the workers and ask them. Raises KafkaError, TimeoutError."""
    await overview.find()
    return await overview.ask()


@breaker.command()
@click.argument("organisation", metavar="every|ORG_ID")
def retry(organisation: str) -> None:
    """Have a lookup service tried again now, not only when its circuit breaker's pause ends.

    ORG_ID is the organisation's; `every` stands for all of them. For somebody who knows that the service is
    well again. Each worker whose breaker is open sees it within seconds, and the next action without a known
    status is its probe; if the probe fails, the next pause is longer, as always. It holds for five minutes.
    `streams breaker` shows what each worker says of it.

    It takes the rights of a worker, and Read on the dead-letter topic, beside whose offsets it is committed.

    Exit codes: 0 decided, 2 wrong options, settings or organisations file, or this organisation has no
    lookup, 3 Kafka does not answer or does not allow it, or the topic is missing.
    """
    import os

    from streams.commands.installation import answered, installation_of
    from streams.settings.organisations import OrganisationsInForce
    from streams.settings.organisations_file import OrganisationsError

    settings = settings_in_force()
    whose = None if organisation == "every" else _org_id(organisation)
    try:
        policies = OrganisationsInForce(settings, os.environ).organisations
    except OrganisationsError as error:
        raise WrongUse(str(error)) from None
    if whose is not None and policies.of(whose).lookup is None:
        raise WrongUse(f"organisation {whose} has no lookup: there is nothing to try")
    answered(_decide(installation_of(settings), whose))
    named = "every lookup" if whose is None else f"the lookup of organisation {whose}"
    click.echo(f"{named} that is down is tried again with its next action, within seconds")


def _org_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 63):
        raise click.UsageError(f"{text!r} is neither `every` nor an orgId")
    return int(text)


async def _decide(installation: Installation, whose: int | None) -> None:
    """Commit the decision.

    Raises:
        NotAnswered: a topic does not exist, or nothing could be committed.
        KafkaError: the cluster cannot be asked.
    """
    import time

    from aiokafka import TopicPartition

    from streams.commands.group_commit import commit
    from streams.commands.installation import describe, group_offsets
    from streams.delivery.decisions import acceptance_id, with_retry
    from streams.delivery.transaction import Position

    place = TopicPartition(installation.names.dead_letters, 0)
    (await describe(installation)).require(place.topic)
    async with group_offsets(installation) as offsets:
        extents = await offsets.extents([place])
        await commit(
            installation,
            offsets,
            place,
            lambda now: Position(extents[place].end, with_retry(now, whose, int(time.time() * 1000))),
            # Not an id of its own: who accepts dead letters at the same time is fenced, and tries again.
            acceptance_id(installation.group, TopicPartition(installation.names.actions, 0)),
        )
