"""What the probes say while something else is down, for longer than their own limits."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiokafka import AIOKafkaProducer

from streams.delivery.lane_state import LaneLimits
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import LookupService, hanging
from streams.sandbox.worker import Installation, WorkerProcess
from streams.settings.load import load_settings
from tests.clients import make_topics
from tests.faults.kafka_proxy import Api, HoldRequest, KafkaProxy
from tests.integration.steps import Probes, act, emails_of, settled
from tests.integration.topics import action

#: Seconds without progress after which a lane with work is stuck: the least that the settings allow.
STUCK_AFTER = 5
#: Seconds that each state lasts: longer, so that /livez would be 503 if the state counted as being stuck.
LONG = STUCK_AFTER + 0.5
SETTINGS = {
    "stuck_after": STUCK_AFTER,
    "transaction_timeout": 2,
    "lookup_deadline": 3,
    "topic_partitions": 2,
    "drain_grace": 0,
}
PHASES = ("recovery", "lookup down", "silence", "rebalance", "broker gone", "broker mute")


class Seen(Probes):
    """What both probes answered in one phase, and what was known of the lag in its end."""

    lag_is_shown = False  # on /metrics, and on the page:
    waiting: int | None = None

    async def watch(self, worker: WorkerProcess, seconds: float = LONG) -> None:
        await super().watch(worker, seconds)
        _, metrics = await asyncio.to_thread(worker.get, "/metrics")
        self.lag_is_shown = "confirmation_lag_records{" in metrics
        self.waiting = orjson.loads((await asyncio.to_thread(worker.get, "/live"))[1])["waiting"]


async def says(place: Installation, worker: WorkerProcess, words: str) -> None:
    """Wait until /readyz says that."""
    await settled(place, lambda: words in worker.get("/readyz")[1])


async def ready(place: Installation, worker: WorkerProcess) -> None:
    await settled(place, lambda: worker.get("/readyz")[0] == 200, 40)


async def busy_days(place: Installation, seen: dict[str, Seen], proxy: KafkaProxy) -> None:
    """A recovery that somebody's open transaction holds up, a dead lookup, silence, and a long rebalance."""
    names = place.names
    await make_topics(place.bootstrap_servers, 2, names.changelog, cleanup_policy="compact")
    worker = place.worker(kafka_bootstrap_servers=proxy.bootstrap_servers)
    producer = AIOKafkaProducer(
        bootstrap_servers=place.bootstrap_servers, transactional_id=f"{place.group}-somebody"
    )
    async with producer:
        await producer.begin_transaction()
        await producer.send_and_wait(names.changelog, b"x", b"310:held", partition=0)
        worker.start()
        await says(place, worker, "restored from its changelog")
        await act(place, action(1), action(2))  # they wait, and are no lane's work yet
        await seen["recovery"].watch(worker)
        await producer.abort_transaction()
    await ready(place, worker)

    async def keep_acting() -> None:
        for number in range(3, 8):
            await act(place, action(number))
            await asyncio.sleep(0.8)

    acting = asyncio.create_task(keep_acting())
    await seen["lookup down"].watch(worker)
    await acting
    assert len(await emails_of(place, 7)) == 7
    await seen["silence"].watch(worker)

    held = proxy.add(Api.JOIN_GROUP, HoldRequest(), times=None)
    other = place.worker()
    other.start()  # past the proxy: the group waits for the first one, whose answer is on its way
    await asyncio.to_thread(held.wait)
    await seen["rebalance"].watch(worker)
    proxy.clear()
    held.release()
    await ready(place, worker)
    assert worker.running


async def bad_days(place: Installation, seen: dict[str, Seen], proxy: KafkaProxy) -> None:
    """No broker: connections are refused, then they stand and nothing comes back. Each with work to do."""
    worker = place.worker(kafka_bootstrap_servers=proxy.bootstrap_servers)
    worker.start()
    await ready(place, worker)
    number = 0
    for phase, stop, go_on in (
        ("broker gone", proxy.cut, proxy.heal),
        ("broker mute", proxy.pause, proxy.resume),
    ):
        await act(place, *(action(number + each) for each in range(3)))
        number += 3
        # Not the counter of those taken: it counts one again that a new owner of its partition takes.
        await settled(place, lambda: worker.counter("confirmation_lane_unsettled_actions") == 3)
        await asyncio.to_thread(stop)
        await seen[phase].watch(worker)
        assert worker.counter("confirmation_lane_unsettled_actions") > 0, "no work: nothing could be stuck"
        await asyncio.to_thread(go_on)
        await settled(place, lambda number=number: worker.counter("confirmation_emails_total") >= number, 40)
        await ready(place, worker)
    assert len(await emails_of(place, number)) == number
    assert worker.running


def installed(kafka: EmbeddedKafka, name: str, folder: Path, lookup: str) -> Installation:
    (folder / name).mkdir()
    return Installation(kafka.bootstrap_servers, name, folder / name, lookup_url=lookup, **SETTINGS)


@pytest.fixture(scope="module")
def seen(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Two workers go through all of it, side by side, each behind a proxy of its own."""
    folder = tmp_path_factory.mktemp("probes")
    found = {phase: Seen() for phase in PHASES}

    async def all_of_it(busy: Any, bad: Any) -> None:
        await asyncio.gather(busy, bad)

    with (
        LookupService(hanging) as lookup,
        KafkaProxy(kafka.bootstrap_servers) as one,
        KafkaProxy(kafka.bootstrap_servers) as two,
        installed(kafka, "busy-days", folder, lookup.url) as busy,
        installed(kafka, "bad-days", folder, lookup.url) as bad,
    ):
        asyncio.run(all_of_it(busy_days(busy, found, one), bad_days(bad, found, two)))
    return found


@pytest.mark.kafka
@pytest.mark.parametrize("phase", PHASES)
def test_none_of_it_is_a_reason_to_restart(seen: dict[str, Seen], phase: str) -> None:
    """Each lasts longer than a stuck lane's patience, and /livez is 200 throughout."""
    assert seen[phase].seconds > STUCK_AFTER
    assert seen[phase].livez == {200}


@pytest.mark.kafka
@pytest.mark.parametrize("phase", ["lookup down", "silence"])
def test_a_dead_lookup_and_silence_are_normal_service(seen: dict[str, Seen], phase: str) -> None:
    """/readyz is 200: two-button letters leave, or there is nothing to do."""
    assert (seen[phase].readyz, seen[phase].reasons) == ({200}, set())


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("recovery", "the table is being restored"),
        ("rebalance", "no partitions assigned yet"),
        ("broker gone", "Kafka does not answer"),
        ("broker mute", "cannot commit"),
    ],
)
def test_what_keeps_it_from_its_work_is_said(seen: dict[str, Seen], phase: str, words: str) -> None:
    """/readyz is 503 with a sentence that says what is awaited, at the latest in the end."""
    assert seen[phase].last == 503
    assert words in "; ".join(seen[phase].reasons)


@pytest.mark.kafka
def test_while_no_broker_answers_the_lag_is_unknown(seen: dict[str, Seen]) -> None:
    """Neither /metrics nor the page shows what was known before; in silence both show that nothing waits."""
    assert (seen["silence"].lag_is_shown, seen["silence"].waiting) == (True, 0)
    assert (seen["broker gone"].lag_is_shown, seen["broker gone"].waiting) == (False, None)


def test_kubernetes_is_more_patient_than_any_of_it() -> None:
    """Its probes ask for what was tested here, and restart no pod before a lane could have given up."""
    (document,) = yaml.safe_load_all(Path("k8s/base/stateful-set.yaml").read_text())
    (container,) = document["spec"]["template"]["spec"]["containers"]
    kinds = ("startup", "liveness", "readiness")
    probes = startup, liveness, readiness = [container[f"{kind}Probe"] for kind in kinds]
    assert [each["httpGet"]["path"] for each in probes] == ["/livez", "/livez", "/readyz"]
    settings = load_settings({})
    # The longest time between two tries of a transaction: one that hangs, and the pause after it.
    assert settings.stuck_after > settings.transaction_timeout + LaneLimits().backoff_most
    # A busy worker may miss a probe or two; it is stuck for half a minute more before it is restarted.
    assert liveness["failureThreshold"] >= 3
    assert liveness["failureThreshold"] * liveness["periodSeconds"] >= settings.stuck_after
    assert liveness["timeoutSeconds"] <= liveness["periodSeconds"]
    # /livez answers before Kafka does, so the start needs no more patience than a slow image or disk.
    assert startup["failureThreshold"] * startup["periodSeconds"] >= 60
    # Not in the Service for longer than a few seconds while it does not do its work.
    assert readiness["failureThreshold"] * readiness["periodSeconds"] <= 15
