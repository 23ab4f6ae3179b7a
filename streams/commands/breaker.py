"""The command ``streams breaker retry``: a person's decision to have a lookup service tried again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streams.commands.command_line import WrongUse, settings_in_force

if TYPE_CHECKING:
    from streams.commands.installation import Installation


@click.group()
def breaker() -> None:
    """End the pause of an organisation's circuit breaker."""


@breaker.command()
@click.argument("organisation", metavar="every|ORG_ID")
def retry(organisation: str) -> None:
    """Have a lookup service tried again now, not only when its circuit breaker's pause ends.

    ORG_ID is the organisation's; `every` stands for all of them. For somebody who knows that the service is
    well again. Each worker whose breaker is open sees it within seconds, and the next action without a known
    status is its probe; if the probe fails, the next pause is longer, as always. It holds for five minutes.
    `streams top` shows which lookups are down at each worker.

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
