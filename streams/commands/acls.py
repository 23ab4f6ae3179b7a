"""The command ``streams acls``."""

from __future__ import annotations

import json
from textwrap import indent
from typing import TYPE_CHECKING

import click

from streams.commands.command_line import settings_in_force

if TYPE_CHECKING:
    from streams.settings.table import Settings


@click.command()
@click.option(
    "--principal",
    metavar="User:NAME",
    help="Whom the brokers know the worker as. Default: STREAMS_KAFKA_SASL_USER.",
)
@click.option("--make-topics", is_flag=True, help="Also the right to make the topics that are missing.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["commands", "strimzi", "json"]),
    default="commands",
    show_default=True,
    help="Lines for Kafka's own tool, the acls of a Strimzi KafkaUser, or JSON with the reasons.",
)
def acls(principal: str | None, make_topics: bool, form: str) -> None:
    """Print the rights that a worker needs at the brokers.

    The least, with the settings in force. Connects to nothing. With mutual TLS the principal is the
    certificate's whole subject, or what the brokers' ssl.principal.mapping.rules make of it.

    Exit codes: 0 printed, 2 wrong options or settings.
    """
    from streams.kafka.acls import commands, least, strimzi, to_make_topics
    from streams.kafka.topics import TopicNames

    settings = settings_in_force()
    names = TopicNames.of(settings)
    needed = least(names, settings.group_id)
    if make_topics:
        needed += to_make_topics(names)
    if form == "json":
        click.echo(json.dumps([acl._asdict() for acl in needed], indent=2))
    elif form == "strimzi":
        click.echo("acls:\n" + indent("\n".join(strimzi(needed)), "  "))
    else:
        for line in commands(needed, principal or _principal(settings)):
            click.echo(line)


def _principal(settings: Settings) -> str:
    if settings.kafka_sasl_user is None:
        raise click.UsageError(
            "STREAMS_KAFKA_SASL_USER is not set: name whom the brokers know with --principal"
        )
    return f"User:{settings.kafka_sasl_user}"
