"""A mailer with exactly the rights of its Kafka user in k8s/: it works, and each of them is needed."""

import asyncio
from pathlib import Path

import pytest

from examples.mailer.settings import Settings
from examples.settings import describe
from tests.clients import make_topics
from tests.integration.topics import read_count, send
from tests.mailer.processes import Mailbox, MailerProcess
from tests.mailer.test_mailer import CANARY, email
from tests.security.broker import SecureBroker
from tests.security.test_least_rights import Limited, each_is_needed, user_rights

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]
DEFAULTS = {setting.name: str(setting.default) for setting in describe(Settings)}
TOPIC, GROUP = DEFAULTS["MAILER_TOPIC"], DEFAULTS["MAILER_GROUP_ID"]
DEAD_LETTERS = DEFAULTS["MAILER_DEAD_LETTERS_TOPIC"]


async def test_a_mailer_works_with_exactly_these_and_needs_each(
    limited: Limited, broker: SecureBroker, tmp_path: Path
) -> None:
    """One letter leaves and one record becomes a dead letter; without any one right, its use is denied."""
    await make_topics(broker.internal, 1, TOPIC, DEAD_LETTERS)
    rights = user_rights("mailer-strimzi")
    limited.allow(*rights)
    mailbox = Mailbox()
    mailbox.start()
    given = {name.lower(): value for name, value in limited.given.items()}
    mailer = MailerProcess(
        given.pop("kafka_bootstrap_servers"),
        TOPIC,
        mailbox.port,
        tmp_path,
        **given,
        group_id=GROUP,
        dead_letters_topic=DEAD_LETTERS,
    )
    try:
        mailer.start()
        await send(broker.internal, TOPIC, [(b"k", email("a")), (b"k", b"{poison")])
        assert len(await read_count(broker.internal, DEAD_LETTERS, 1)) == 1
        await asyncio.to_thread(mailer.until, lambda: len(mailbox.letters) == 1)
        assert mailbox.received() == {f"a@{CANARY}.example": 1}
        assert "uthorization" not in mailer.log.read_text()
    finally:
        mailer.kill()
        mailbox.stop()
    await each_is_needed(limited, rights)
