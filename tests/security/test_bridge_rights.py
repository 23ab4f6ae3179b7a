"""A bridge with exactly the rights of its Kafka user in k8s/: it works, and each of them is needed."""

from pathlib import Path

import pytest

from examples.proca.demo.proca import Proca, dumped, event, message
from examples.proca.demo.processes import BridgeProcess
from examples.proca.demo.rabbitmq import RabbitMq
from examples.proca.settings import Settings
from examples.settings import describe
from streams.sandbox.supervised import SupervisedProcesses
from tests.clients import happens, make_topics
from tests.integration.topics import read_count
from tests.proca.conftest import rabbitmq as rabbitmq  # the fixture
from tests.security.broker import SecureBroker
from tests.security.test_least_rights import Limited, each_is_needed, user_rights

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]
DEFAULTS = {setting.name: setting.default for setting in describe(Settings)}


async def test_a_bridge_works_with_exactly_these_and_needs_each(
    limited: Limited, broker: SecureBroker, rabbitmq: RabbitMq, tmp_path: Path
) -> None:
    """An action and a status come to their topics; without any one right, its use is denied."""
    topics = {
        "actions": str(DEFAULTS["BRIDGE_ACTIONS_TOPIC"]),
        "statuses": str(DEFAULTS["BRIDGE_STATUS_TOPIC"]),
    }
    await make_topics(broker.internal, 1, *topics.values())
    rights = user_rights("bridge-strimzi")
    limited.allow(*rights)
    given = {name.lower(): value for name, value in limited.given.items()}
    processes = SupervisedProcesses(grace=0.0)
    given |= {"amqp_url": rabbitmq.url, "organisations": "310", "queue_prefix": "limited"}
    bridges = [BridgeProcess(processes, command, tmp_path, given) for command in topics]
    lost = {"emailStatus": "unsub", "emailStatusChanged": "2026-11-25T09:00:00Z"}
    try:
        async with Proca(rabbitmq.url) as proca:
            await proca.declare(310)
            for each in bridges:
                each.start()
            await happens(lambda: all(each.ready for each in bridges))
            await proca.publish("org.310.confirm.supporter", [dumped(message(1))])
            await proca.publish("org.310.event", [dumped(event(1, **lost))], key="supporter.email_status")
            for topic in topics.values():
                assert len(await read_count(broker.internal, topic, 1)) == 1
        assert all("uthorization" not in each.log.read_text() for each in bridges)
    finally:
        for each in bridges:
            each.close()
        processes.close()
    await each_is_needed(limited, rights)
