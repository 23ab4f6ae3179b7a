"""The command ``streams acls``."""

from __future__ import annotations

import json
from textwrap import indent
from typing import TYPE_CHECKING

import click

from streams.commands.command_line import settings_in_force

if TYPE_CHECKING:
    from streams.kafka.acls import Acl
    from streams.settings.table import Settings


@click.command()
@click.option(
    "--for",
    "role",
    type=click.Choice(["worker", "producer", "crm", "mailer", "auditor"]),
    default="worker",
    show_default=True,
    help="Who gets them. A producer writes the actions, a crm the statuses; an auditor may run audit, trace,"
    " and dead-letters list and show.",
)
@click.option(
    "--principal",
    metavar="User:NAME",
    help="Whom the brokers know them as. Default for a worker: STREAMS_KAFKA_SASL_USER.",
)
@click.option(
    "--mailer-group",
    default="mailer",
    show_default=True,
    metavar="GROUP",
    help="The mailer's consumer group.",
)
@click.option(
    "--make-topics", is_flag=True, help="Also a worker's right to make the topics that are missing."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["commands", "strimzi", "json"]),
    default="commands",
    show_default=True,
    help="Lines for Kafka's own tool, the acls of a Strimzi KafkaUser, or JSON with the reasons.",
)
def acls(role: str, principal: str | None, mailer_group: str, make_topics: bool, form: str) -> None:
    """Print the least rights at the brokers, for each role.

    The least, with the settings in force. Connects to nothing. With mutual TLS the principal is the
    certificate's whole subject, or what the brokers' ssl.principal.mapping.rules make of it.

    Exit codes: 0 printed, 2 wrong options or settings.
    """
    from streams.kafka.acls import commands, strimzi

    if make_topics and role != "worker":
        raise click.UsageError("only a worker makes topics")
    settings = settings_in_force()
    needed = _needed(settings, role, mailer_group, make_topics)
    if form == "json":
        click.echo(json.dumps([acl._asdict() for acl in needed], indent=2))
    elif form == "strimzi":
        click.echo("acls:\n" + indent("\n".join(strimzi(needed)), "  "))
    else:
        for line in commands(needed, principal or _principal(settings, role)):
            click.echo(line)


def _needed(settings: Settings, role: str, mailer_group: str, make_topics: bool) -> tuple[Acl, ...]:
    from streams.commands.dead_letters.retry import group_of
    from streams.commands.installation import installation_of
    from streams.kafka.acls import least, of_auditor, of_crm, of_mailer, of_producer, to_make_topics

    installation = installation_of(settings)
    names = installation.names
    match role:
        case "producer":
            return of_producer(names)
        case "crm":
            return of_crm(names)
        case "mailer":
            return of_mailer(names, mailer_group)
        case "auditor":
            return of_auditor(names, installation.group, group_of(installation))
    needed = least(names, settings.group_id)
    return needed + to_make_topics(names) if make_topics else needed


def _principal(settings: Settings, role: str) -> str:
    if role != "worker":
        raise click.UsageError(f"name whom the brokers know the {role} as, with --principal")
    if settings.kafka_sasl_user is None:
        raise click.UsageError(
            "STREAMS_KAFKA_SASL_USER is not set: name whom the brokers know with --principal"
        )
    return f"User:{settings.kafka_sasl_user}"
