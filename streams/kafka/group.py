"""Keeps a worker trying to take part in its consumer group, and says in a sentence what is in the way.

At an error of the group that aiokafka does not expect to pass, it does nothing more until somebody takes the
error from it, and nobody does while nothing is assigned: the worker would idle for ever, without a word. Nor
does it begin its heartbeats again after they were refused once. But each of these errors may pass: another
kind of client leaves the group, a right is given back, a broker is configured anew.

Over a connection that stands, aiokafka waits for every answer as long as for that to a request to join, and
that may take minutes. A member that has no answer to a heartbeat within its session is out of its group: so
that is the bound here, and for the question who coordinates the group. The connection is closed then, as
aiokafka does after its own time-out: where a request was lost, nothing that follows it is answered either.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, cast

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.protocol.admin import DescribeConfigsRequest, DescribeGroupsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest

from streams.kafka import authorization
from streams.kafka.acls import Acl

log = logging.getLogger(__name__)

#: Seconds between two attempts after an error that aiokafka would stop at.
RETRY_EVERY = 2.0
#: Seconds for a question about the reason.
_ASK_WITHIN = 5.0
#: The group has too many members already; aiokafka does not know this error.
_GROUP_MAX_SIZE_REACHED = 81
#: Answers that say nothing of a fault: what a rebalance, an expired session or a first join brings.
_USUAL = frozenset(
    {
        errors.UnknownMemberIdError.errno,
        errors.IllegalGenerationError.errno,
        errors.RebalanceInProgressError.errno,
        errors.MemberIdRequired.errno,
    }
)
_OF_GROUP = frozenset(
    each.API_KEY for each in (FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, SyncGroupRequest)
)
#: A broker's shortest and longest session, by the names of its configuration.
SESSION_TIMEOUTS = ("group.min.session.timeout.ms", "group.max.session.timeout.ms")
_ANOTHER_KIND = "another kind of client is in group {}"
#: How Faust's workers share the partitions out.
_ASSIGNOR = "faust"
_BROKER = 4  # DescribeConfigs' resource type


class GroupMembership:
    """One member's part in its group. All but `fault` belongs to the event loop of its client."""

    def __init__(self, coordinator: Any, session_timeout: float) -> None:
        """Watch an aiokafka `coordinator` from now on, and keep it trying.

        Args:
            coordinator: of a consumer that has no subscription yet.
            session_timeout: seconds, as the coordinator was given it.
        """
        #: What keeps this member out of its group, for /readyz; None: nothing. Any thread may read it.
        self.fault: str | None = None
        self._coordinator = coordinator
        self._client = coordinator._client
        self._group = coordinator.group_id
        self._session_timeout = session_timeout
        self._send = self._client.send
        self._client.send = self._send_noting
        self._look_up = self._client.coordinator_lookup
        self._client.coordinator_lookup = self._look_up_with_brokers
        coordinator._push_error_to_user = self._try_again

    def _send_noting(self, node_id: int, request: Any, **kwargs: Any) -> Awaitable[Any]:
        # Fetches go through here, too, fifty a second.
        send = self._send_of_group if request.API_KEY in _OF_GROUP else self._send
        return cast(Awaitable[Any], send(node_id, request, **kwargs))

    async def _send_of_group(self, node_id: int, request: Any, **kwargs: Any) -> Any:
        if isinstance(request, HeartbeatRequest | FindCoordinatorRequest):
            response = await self._send_within_session(node_id, request, **kwargs)
        else:
            response = await self._send(node_id, request, **kwargs)
        if isinstance(request, JoinGroupRequest | SyncGroupRequest | HeartbeatRequest):
            code = response.error_code
            if code == 0 and not isinstance(request, JoinGroupRequest):
                self._say(None)
            elif code and code not in _USUAL:
                self._say(await self._sentence(code))
        elif isinstance(request, FindCoordinatorRequest) and response.error_code:
            self._say(await self._sentence(response.error_code))
        return response

    async def _look_up_with_brokers(self, kind: Any, key: str) -> Any:
        # A broker that has just started names no brokers, not even itself: aiokafka's assertion would fail.
        if self._client.get_random_node() is None:
            error = errors.GroupCoordinatorNotAvailableError
            self._say(await self._sentence(error.errno))
            raise error
        return await self._look_up(kind, key)

    async def _send_within_session(
        self, node_id: int, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT
    ) -> Any:
        try:
            async with asyncio.timeout(self._session_timeout):
                return await self._send(node_id, request, group=group)
        except TimeoutError:
            if (connection := self._client._conns.get((node_id, group))) is not None:
                connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise errors.RequestTimedOutError from None

    def _say(self, fault: str | None) -> None:
        if fault == self.fault:
            return
        self.fault = fault
        if fault is None:
            log.info("group %s takes this worker again", self._group, extra={"event": "group_mended"})
        else:
            log.warning("%s; trying again", fault, extra={"event": "group_refuses"})

    async def _try_again(self, error: Exception) -> None:
        """Wait, and begin again what has ended by the error; aiokafka would wait for a reader of it."""
        coordinator = self._coordinator
        if self.fault is None:  # not from an answer that was looked at
            code = getattr(error, "errno", 0)
            self._say(await self._sentence(code) if code else self._unforeseen(type(error).__name__))
        await asyncio.wait({coordinator._closing}, timeout=RETRY_EVERY)
        if _failed(coordinator._heartbeat_task):
            coordinator._heartbeat_task = None
            coordinator._start_heartbeat_task()
        subscription = coordinator._subscription.subscription
        if _failed(coordinator._commit_refresh_task) and subscription is not None and subscription.assignment:
            coordinator.start_commit_offsets_refresh_task(subscription.assignment)

    async def _sentence(self, code: int) -> str:
        group = self._group
        if code == errors.InconsistentGroupProtocolError.errno:
            return await self._asked(self._who_is_there(), _ANOTHER_KIND.format(group))
        if code == errors.UnknownError.errno:
            return await self._asked(self._what_is_unknown(), self._unforeseen(errors.UnknownError.__name__))
        if code == errors.InvalidSessionTimeoutError.errno:
            return await self._asked(self._what_is_allowed(), refused(self._session_timeout))
        if code == errors.GroupAuthorizationFailedError.errno:
            return authorization.sentence([Acl("group", group, "literal", "Read", "membership")])
        if code == errors.GroupLoadInProgressError.errno:
            return f"the coordinator of group {group} is still loading it"
        if code in (errors.GroupCoordinatorNotAvailableError.errno, errors.NotCoordinatorForGroupError.errno):
            return f"no broker coordinates group {group} at present ({errors.for_code(code).__name__})"
        if code == _GROUP_MAX_SIZE_REACHED:
            return f"group {group} has as many members as the broker's group.max.size allows"
        return self._unforeseen(f"{errors.for_code(code).__name__}, {code}")

    def _unforeseen(self, error: str) -> str:
        return f"this worker cannot take part in group {self._group} ({error})"

    async def _asked(self, question: Awaitable[str], otherwise: str) -> str:
        try:
            return await asyncio.wait_for(question, _ASK_WITHIN)
        except (errors.KafkaError, TimeoutError, NotImplementedError):
            return otherwise

    async def _ask(self, request: Any) -> Any:
        node_id = self._coordinator.coordinator_id
        if node_id is None:
            raise errors.GroupCoordinatorNotAvailableError
        return await self._send(node_id, request, group=ConnectionGroup.COORDINATION)

    async def _who_is_there(self) -> str:
        response = await self._ask(DescribeGroupsRequest([self._group]))
        return in_the_way(self._group, response.groups[0])

    async def _what_is_unknown(self) -> str:
        # Kafka 4.3 answers so to a join where members use the protocol of KIP-848; it calls their group dead.
        response = await self._ask(DescribeGroupsRequest([self._group]))
        if response.groups[0][2] == "Dead":
            return _ANOTHER_KIND.format(self._group)
        return self._unforeseen(errors.UnknownError.__name__)

    async def _what_is_allowed(self) -> str:
        node_id = str(self._coordinator.coordinator_id)
        response = await self._ask(DescribeConfigsRequest([(_BROKER, node_id, [*SESSION_TIMEOUTS])]))
        return refused(self._session_timeout, timeouts_in(response))


def refused(session_timeout: float, allowed: tuple[float, float] | None = None) -> str:
    """Say that the broker refuses a session time-out, and what it allows where that is known; all seconds."""
    sentence = f"the broker refuses STREAMS_SESSION_TIMEOUT, {session_timeout:g} s"
    if allowed is None:
        return f"{sentence}: see its {' and '.join(SESSION_TIMEOUTS)}"
    return f"{sentence}; it allows {allowed[0]:g} to {allowed[1]:g} s ({', '.join(SESSION_TIMEOUTS)})"


def timeouts_in(response: Any) -> tuple[float, float]:
    """Return the shortest and the longest session, in seconds, that a broker's configuration allows.

    Args:
        response: to DescribeConfigs of one broker.

    Raises:
        KafkaError: the broker does not tell.
    """
    ((code, _, _, _, entries),) = response.resources
    if code:
        raise errors.for_code(code)
    configs = {entry[0]: entry[1] for entry in entries}
    shortest, longest = (int(configs[name]) / 1000 for name in SESSION_TIMEOUTS)
    return shortest, longest


def _failed(task: asyncio.Task[None] | None) -> bool:
    return task is not None and task.done() and not task.cancelled() and task.exception() is not None


async def described(admin: AIOKafkaAdminClient, group: str) -> Any:
    """Return what the coordinator says of a group (DescribeGroups). Raises KafkaError."""
    ((answer, *_),) = [response.groups for response in await admin.describe_consumer_groups([group])]
    if answer[0]:
        raise errors.for_code(answer[0])(group)
    return answer


def in_the_way(group: str, described: Any) -> str:
    """Say who is in a group, whose coordinator has refused what only a member may do; arguments as below."""
    if (who := stranger(group, described)) is not None:
        return who
    _, _, _, _, _, members, *_ = described
    # Of a group whose members use the protocol of KIP-848, or share it, this request shows none.
    return f"other workers are in group {group}" if members else _ANOTHER_KIND.format(group)


def stranger(group: str, described: Any) -> str | None:
    """Say who else uses a group, where its members are no workers; None: they are, or there is none.

    Args:
        group: its name.
        described: what the coordinator says of it.
    """
    _, _, _, protocol_type, protocol, members, *_ = described
    if not members or (protocol_type == "consumer" and protocol in ("", _ASSIGNOR)):
        return None
    names = ", ".join(sorted({f"{client_id} at {host.lstrip('/')}" for _, client_id, host, *_ in members}))
    how = f"assignor {protocol}" if protocol_type == "consumer" else f"protocol {protocol_type}"
    return f"{_ANOTHER_KIND.format(group)}: {names} ({how})"
