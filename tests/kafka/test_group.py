"""A member's part in its group, without a broker; tests/faults/test_group.py has one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, RequestTimedOutError
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest

from streams.kafka.group import RETRY_EVERY, GroupMembership, in_the_way, refused, stranger, timeouts_in

HEARTBEAT = HeartbeatRequest("g", 1, "me")
JOIN = JoinGroupRequest("g", 10_000, 10_000, "me", None, "consumer", [])
SYNC = SyncGroupRequest("g", 1, "me", None, [])
FIND = FindCoordinatorRequest("g", 0)
UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 25, 27, 79
FAULTS = {
    -1: "this worker cannot take part in group g (UnknownError)",
    14: "is still loading it",
    15: "no broker coordinates group g",
    23: "another kind of client is in group g",
    24: "InvalidGroupIdError",
    26: "refuses STREAMS_SESSION_TIMEOUT, 10 s",
    30: "do not allow this user Read on group g",
    81: "group.max.size",
}


class Coordinator:
    """What of aiokafka's is looked at; its broker gives the next of `codes`, or no answer."""

    def __init__(self) -> None:
        self.group_id, self.coordinator_id = "g", None
        self.codes: list[int | None] = []
        self.closed: list[CloseReason] = []
        connection = SimpleNamespace(close=lambda reason: self.closed.append(reason))
        self.brokers: list[int] = []
        self._client = SimpleNamespace(
            send=self._send,
            _conns={(1, ConnectionGroup.DEFAULT): connection},
            get_random_node=lambda: self.brokers[0] if self.brokers else None,
            coordinator_lookup=self._look_up,
        )
        self._closing = asyncio.get_running_loop().create_future()
        self._heartbeat_task: Any = None
        self._commit_refresh_task: Any = None
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment="mine"))
        self.begun: list[str] = []

    async def _send(self, *_: Any, **__: Any) -> Any:
        if (code := self.codes.pop(0)) is None:
            await asyncio.Event().wait()
        return SimpleNamespace(error_code=code)

    async def _look_up(self, _kind: Any, _key: str) -> int:
        return self.brokers[0]

    def _start_heartbeat_task(self) -> None:
        self.begun.append("heartbeats")

    def start_commit_offsets_refresh_task(self, assignment: str) -> None:
        self.begun.append(assignment)

    async def _push_error_to_user(self, error: Exception) -> None:
        raise AssertionError("nobody would take it")

    async def answers(self, request: Any, code: int | None) -> None:
        self.codes.append(code)
        await self._client.send(1, request)


@pytest.fixture
async def coordinator(virtual_time: None) -> Coordinator:
    return Coordinator()


@pytest.fixture
async def membership(coordinator: Coordinator) -> GroupMembership:
    return GroupMembership(coordinator, 10.0)


async def failed(error: Exception) -> asyncio.Task[None]:
    async def fails() -> None:
        raise error

    task = asyncio.create_task(fails())
    await asyncio.wait({task})
    return task


@pytest.mark.parametrize(("code", "words"), FAULTS.items())
async def test_a_fault_is_a_sentence_until_the_member_takes_part(
    coordinator: Coordinator, membership: GroupMembership, code: int, words: str
) -> None:
    """A join alone is not enough: the member takes part once a sync or a heartbeat went well."""
    for request, again in ((JOIN, SYNC), (SYNC, SYNC), (HEARTBEAT, HEARTBEAT), (FIND, HEARTBEAT)):
        await coordinator.answers(request, code)
        assert membership.fault is not None
        assert words in membership.fault
        await coordinator.answers(JOIN, 0)
        await coordinator.answers(FIND, 0)
        assert membership.fault is not None
        await coordinator.answers(again, 0)
        assert membership.fault is None


@pytest.mark.parametrize("code", [UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED])
async def test_what_every_rebalance_brings_is_no_fault(
    coordinator: Coordinator, membership: GroupMembership, code: int
) -> None:
    """It says nothing, neither that there is a fault nor that one has passed."""
    await coordinator.answers(HEARTBEAT, code)
    assert membership.fault is None
    await coordinator.answers(JOIN, 30)
    await coordinator.answers(JOIN, code)
    assert membership.fault is not None


async def test_after_an_error_the_member_waits_and_begins_again_what_had_ended(
    coordinator: Coordinator, membership: GroupMembership
) -> None:
    """Heartbeats and the reading of offsets that failed begin anew; what goes on is left alone."""
    error = GroupAuthorizationFailedError("g")
    coordinator._heartbeat_task = going_on = asyncio.create_task(asyncio.Event().wait())
    coordinator._commit_refresh_task = await failed(error)
    began = asyncio.get_running_loop().time()
    await coordinator._push_error_to_user(error)
    assert asyncio.get_running_loop().time() - began == pytest.approx(RETRY_EVERY)
    assert coordinator.begun == ["mine"]
    assert coordinator._heartbeat_task is going_on
    going_on.cancel()
    coordinator._heartbeat_task, coordinator._commit_refresh_task = await failed(error), None
    await coordinator._push_error_to_user(error)
    assert coordinator.begun == ["mine", "heartbeats"]
    assert "Read on group g" in (membership.fault or "")


async def test_an_error_that_nobody_foresaw_is_named_by_its_class(
    coordinator: Coordinator, membership: GroupMembership
) -> None:
    """Not by its text, which may quote an answer; and a consumer that closes does not wait."""
    coordinator._closing.set_result(None)
    began = asyncio.get_running_loop().time()
    await coordinator._push_error_to_user(KafkaError("some text"))
    assert asyncio.get_running_loop().time() == began
    assert membership.fault == "this worker cannot take part in group g (KafkaError)"


@pytest.mark.parametrize("request_", [HEARTBEAT, FIND], ids=["heartbeat", "coordinator"])
@pytest.mark.usefixtures("membership")
async def test_no_answer_within_the_session_closes_the_connection(
    coordinator: Coordinator, request_: Any
) -> None:
    """Where a request was lost, the next one goes over another connection."""
    began = asyncio.get_running_loop().time()
    with pytest.raises(RequestTimedOutError):
        await coordinator.answers(request_, None)
    assert asyncio.get_running_loop().time() - began == pytest.approx(10)
    assert coordinator.closed == [CloseReason.CONNECTION_TIMEOUT]


async def test_a_broker_that_names_no_brokers_yet_is_asked_again(
    coordinator: Coordinator, membership: GroupMembership
) -> None:
    """It has just started: the client is told by an error that it tries again after."""
    with pytest.raises(KafkaError) as raised:
        await coordinator._client.coordinator_lookup(0, "g")
    assert raised.value.retriable
    assert membership.fault == "no broker coordinates group g at present (GroupCoordinatorNotAvailableError)"
    coordinator.brokers.append(1)
    assert await coordinator._client.coordinator_lookup(0, "g") == 1


def described(protocol_type: str, protocol: str, *members: tuple[str, str]) -> tuple[Any, ...]:
    return 0, "g", "Stable", protocol_type, protocol, [("id", *member, b"", b"") for member in members]


def test_who_else_is_in_the_group_is_named() -> None:
    """By client.id, host and how they share partitions out; workers, and nobody, are no strangers."""
    assert stranger("g", described("consumer", "faust", ("faust", "/10.0.0.1"))) is None
    assert stranger("g", described("consumer", "", ("faust", "/10.0.0.1"))) is None
    assert stranger("g", described("", "")) is None
    consumers = described("consumer", "range", ("job", "/10.0.0.2"), ("job", "/10.0.0.2"), ("b", "/10.0.0.3"))
    assert stranger("g", consumers) == (
        "another kind of client is in group g: b at 10.0.0.3, job at 10.0.0.2 (assignor range)"
    )
    connect = described("connect", "compatible", ("sink", "/10.0.0.4"))
    assert stranger("g", connect) == (
        "another kind of client is in group g: sink at 10.0.0.4 (protocol connect)"
    )


def test_who_is_in_the_way_is_said_also_where_the_broker_does_not_show_them() -> None:
    """Members of a newer protocol are not shown: a group that refuses us and shows nobody has such ones."""
    assert in_the_way("g", described("", "")) == "another kind of client is in group g"
    assert in_the_way("g", described("consumer", "faust", ("faust", "/h"))) == "other workers are in group g"
    assert in_the_way("g", described("connect", "x", ("sink", "/h"))).endswith("sink at h (protocol connect)")


def test_what_a_broker_allows_is_read_from_its_configuration() -> None:
    """In seconds; a broker that does not tell raises its error."""
    entries = [("group.min.session.timeout.ms", "6000", True), ("group.max.session.timeout.ms", "8500", True)]
    assert timeouts_in(SimpleNamespace(resources=[(0, "", 4, "1", entries)])) == (6.0, 8.5)
    with pytest.raises(KafkaError):
        timeouts_in(SimpleNamespace(resources=[(31, "", 4, "1", [])]))
    assert refused(30, (6.0, 8.5)).endswith(
        "30 s; it allows 6 to 8.5 s (group.min.session.timeout.ms, group.max.session.timeout.ms)"
    )
    assert refused(30).endswith("see its group.min.session.timeout.ms and group.max.session.timeout.ms")
