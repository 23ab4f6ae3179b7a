"""The command ``streams check``: everything that a worker with these settings needs, before a rollout."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from streams.commands.command_line import settings_in_force

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.commands.doctor.findings import Finding
    from streams.settings.table import Settings


@click.command()
@click.option("--make-topics", is_flag=True, help="A missing topic is no problem: the worker shall make it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, as of `streams doctor`.")
def check(make_topics: bool, as_json: bool) -> None:
    """Check settings, brokers, rights and topics.

    For a pipeline, before a rollout: run it with the settings, secrets and organisations file that the
    workers are to have. It needs no worker; `streams doctor` looks at workers that run, and at the lookups.
    Changes nothing.

    Exit codes, the first that fits: 2 wrong options, settings or organisations file; 3 Kafka does not answer;
    1 a problem; 0 none (warnings do not count); 130 interrupted.
    """
    import asyncio
    import logging

    from streams.commands.doctor.findings import ORGANISATIONS, exit_code, ok, wrong_organisations
    from streams.commands.doctor.report import show
    from streams.commands.progress_bar import ProgressBar
    from streams.settings.organisations import OrganisationsInForce
    from streams.settings.organisations_file import OrganisationsError

    settings = settings_in_force()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the findings say the same once
    findings = [ok("settings", "valid")]
    try:
        entries = len(list(OrganisationsInForce(settings, os.environ).organisations))
        findings.append(ok(ORGANISATIONS, f"{entries:,} with an entry"))
    except OrganisationsError as error:
        findings.append(wrong_organisations(error))
    with ProgressBar() as bar:
        of_kafka, answers = asyncio.run(
            _kafka(settings, make_topics, lambda what: bar.begin(f"looking at {what}"))
        )
    findings += of_kafka
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        show(findings)
    sys.exit(exit_code(findings, answers))


async def _kafka(
    settings: Settings, make_topics: bool, begins: Callable[[str], None]
) -> tuple[list[Finding], bool]:
    """Return what was found at the brokers, and whether they answer."""
    from streams.commands.doctor import layout
    from streams.commands.doctor.cluster import looked_at, tried
    from streams.commands.doctor.findings import Severity
    from streams.commands.doctor.groups import check_session
    from streams.commands.installation import installation_of
    from streams.kafka.topics import administering

    installation = installation_of(settings)
    async with looked_at(installation, settings.duplicate_window, begins) as cluster:
        findings = list(cluster.findings)
        if cluster.client is None:
            return findings, False
        if make_topics:
            findings = [
                each._replace(level=Severity.NOTE) if each.remedy == layout.MADE_AT_START else each
                for each in findings
            ]
        begins("the consumer group")

        async def session() -> list[Finding]:
            async with administering(installation.connection) as admin:
                return await check_session(admin, installation.group, settings.session_timeout)

        findings += await tried("consumers", session())
        return findings, True
