"""Notices that another live worker goes by our group instance id.

With static membership (KIP-345) a member that joins under a name takes over that name's membership. Whoever
had it is told FENCED_INSTANCE_ID, if only its requests carry the instance id. aiokafka's heartbeats are too
old for that: they get UNKNOWN_MEMBER_ID, the client joins again, takes the name back, and the two go on like
this for ever.

A membership that nobody takes away lasts a session time-out from its last sign of life. One that is unknown
earlier was taken by a namesake; ours ends then, as a Java client's would, and the newer worker stays.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest

# Error codes, from https://kafka.apache.org/protocol#protocol_error_codes; aiokafka does not know the last.
_NONE, _UNKNOWN_MEMBER_ID, _REBALANCE_IN_PROGRESS, _FENCED_INSTANCE_ID = 0, 25, 27, 82


class NamesakeTookOver(Exception):
    """Another live worker has our group instance id. Two must not share one: whoever runs them must act."""

    def __init__(self, instance_id: str) -> None:
        super().__init__(
            f"another live worker has group_instance_id {instance_id}: it must be one worker's own"
        )


class Membership:
    """Looks at the coordinator's answers to one static member."""

    def __init__(self, session_timeout: float) -> None:
        """Begin without a membership; one lasts `session_timeout` seconds without a sign of life."""
        self._session_timeout = session_timeout
        self._alive_at: float | None = None

    def taken(self, code: int, sent_at: float, now: float) -> bool:
        """Note the answer to a heartbeat or sync; True when it shows that a namesake took the membership.

        Args:
            code: the answer's error code.
            sent_at: when the request was sent: the broker's clock for the session starts no earlier.
            now: when the answer came; both in monotonic seconds.
        """
        if code in (_NONE, _REBALANCE_IN_PROGRESS):
            self._alive_at = sent_at
            return False
        if code == _UNKNOWN_MEMBER_ID:
            alive_at, self._alive_at = self._alive_at, None
            return alive_at is not None and now - alive_at < self._session_timeout
        return code == _FENCED_INSTANCE_ID


def watch(
    client: Any, instance_id: str, session_timeout: float, on_taken: Callable[[Exception], None]
) -> None:
    """Watch the group requests that an aiokafka `client` sends from now on.

    Args:
        client: an AIOKafkaClient.
        instance_id: the member's group instance id.
        session_timeout: seconds.
        on_taken: called, in the client's loop, when a namesake took over.
    """
    membership = Membership(session_timeout)
    send = client.send

    async def send_watching(node_id: int, request: Any, **kwargs: Any) -> Any:
        sent_at = time.monotonic()
        response = await send(node_id, request, **kwargs)
        if isinstance(request, JoinGroupRequest):
            taken = response.error_code == _FENCED_INSTANCE_ID
        elif isinstance(request, HeartbeatRequest | SyncGroupRequest):
            taken = membership.taken(response.error_code, sent_at, time.monotonic())
        else:
            return response
        if taken:
            on_taken(NamesakeTookOver(instance_id))
            if isinstance(request, HeartbeatRequest):
                # Not told, the client does not join again and take the name back. It cancels this in the end.
                await asyncio.Event().wait()
        return response

    client.send = send_watching
