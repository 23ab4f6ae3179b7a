"""Fetch sessions (KIP-227): a fetch names what has changed, and its answer what is new.

Without them, as aiokafka has it, each request names every partition of the broker, and each answer, too. A
worker has three partitions for each one of `actions` (statuses, changelog), and most of them are at their
ends: naming them was half of what the consumer's thread had to do at a few hundred actions a second.

A session belongs to one broker. It begins with a fetch that names everything, and each later one has the
session's next epoch. The broker remembers the offsets, and the end of each log as it has told it. So whenever
an answer was lost, or was not taken into aiokafka's state of the partitions, the session begins again. A
broker may forget a session, or not open one at all: then everything is named, as before.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from streams.kafka import fetch_wire
from streams.kafka.fetch_wire import Asked, FetchAnswer, Limits

log = logging.getLogger(__name__)

_NO_SESSION = 0
_FIRST_EPOCH = 0  # names everything, and ends the session whose id it has
_LAST_EPOCH = 2**31 - 1
#: The broker does not have the session any more; any other error leaves it open.
_SESSION_ID_NOT_FOUND = 70


class FetchSession:
    """What one broker knows of the partitions that are fetched from it."""

    def __init__(self) -> None:
        """Begin without a session."""
        self.id = _NO_SESSION
        self.epoch = _FIRST_EPOCH
        self._offsets: dict[TopicPartition, int] = {}
        self._assignment: Any = None

    def changes(
        self, assignment: Any, asked: Sequence[Asked]
    ) -> tuple[Sequence[Asked], Sequence[TopicPartition]]:
        """Return what the next request has to name, and what it has to let the broker forget."""
        if assignment is not self._assignment:  # its states know nothing that the broker has told before
            self._assignment = assignment
            self.renew()
        offsets = {place: offset for place, _, offset in asked}
        known, self._offsets = self._offsets, offsets
        if self.epoch == _FIRST_EPOCH:
            return random.sample(asked, len(asked)), ()  # the first ones must not always be served first
        changed = [each for each in asked if known.get(each[0]) != each[2]]
        return changed, () if known.keys() <= offsets.keys() else tuple(known.keys() - offsets.keys())

    def answered(self, error: int, session: int) -> None:
        """Note the answer to the last request."""
        if error:
            log.debug("a fetch session ended: error %d", error, extra={"event": "fetch_session_ended"})
            self.renew()
            if error == _SESSION_ID_NOT_FOUND:
                self.id = _NO_SESSION
        elif session == _NO_SESSION:
            self.id, self.epoch = _NO_SESSION, _FIRST_EPOCH
        else:
            self.id, self.epoch = session, self.epoch % _LAST_EPOCH + 1

    def renew(self) -> None:
        """Name everything in the next request."""
        self.epoch = _FIRST_EPOCH


class Fetch(FetchRequest):  # type: ignore[misc]  # aiokafka ships no types
    """A fetch of all that may be asked of one broker now."""

    def __init__(self, fetcher: Any, assignment: Any, asked: Sequence[Asked], session: FetchSession) -> None:
        """Ask for these partitions of aiokafka's `assignment`, with the settings of its `fetcher`."""
        super().__init__(
            fetcher._fetch_max_wait_ms,
            fetcher._fetch_min_bytes,
            fetcher._fetch_max_bytes,
            fetcher._isolation_level,
            [],
            fetcher._client_rack or "",
        )
        self.asked = asked
        self.assignment = assignment
        self.session = session
        self._most_of_partition = fetcher._max_partition_fetch_bytes
        self._told = asked

    @property
    def wait(self) -> int:
        """Milliseconds that the broker may hold the fetch."""
        wait: int = self._max_wait_ms
        return wait

    @wait.setter
    def wait(self, milliseconds: int) -> None:
        self._max_wait_ms = milliseconds

    @property
    def topics(self) -> list[tuple[str, list[tuple[int, int, int]]]]:
        """By topic, what is asked for as (partition, offset, bytes); once there is an answer, what it has."""
        most = self._most_of_partition
        by_topic: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        for (topic, partition), _, offset in self._told:
            by_topic[topic].append((partition, offset, most))
        return list(by_topic.items())

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Any:
        """Return the request as it goes over the wire (called by aiokafka's connection)."""
        lowest, highest = versions.get(fetch_wire.API_KEY, (0, -1))
        if not lowest <= fetch_wire.VERSION <= highest:  # before Kafka 2.3
            self._told = random.sample(self.asked, len(self.asked))
            self._topics = self.topics
            return super().prepare(versions)
        limits = Limits(
            self._max_wait_ms,
            self._min_bytes,
            self._max_bytes,
            self._most_of_partition,
            self._isolation_level,
            self._rack_id,
        )
        changed, forgotten = self.session.changes(self.assignment, self.asked)
        return fetch_wire.request(limits, self.session.id, self.session.epoch, changed, forgotten)

    def take(self, answer: FetchAnswer) -> None:
        """Note an answer. It begins the session again if aiokafka will not take all of it."""
        self.session.answered(answer.error_code, answer.session_id)
        asked = {place: (place, state, offset) for place, state, offset in self.asked}
        places = [TopicPartition(topic, each[0]) for topic, parts in answer.topics for each in parts]
        try:
            self._told = [asked[place] for place in places]
        except KeyError:  # the broker's session is not what ours is
            answer.topics, self._told = [], ()
            self.session.renew()
            return
        if not (self.assignment.active and all(state._position == offset for _, state, offset in self._told)):
            self.session.renew()


def asked_in(request: FetchRequest, assignment: Any) -> Sequence[Asked]:
    """Return what a request, of aiokafka or of this module, asks for of an `assignment`."""
    if isinstance(request, Fetch):
        return request.asked
    return [
        (place := TopicPartition(topic, number), assignment._tp_state[place], offset)
        for topic, parts in request.topics
        for number, offset, _ in parts
    ]


#: Plans the fetch that follows one of a broker, by aiokafka's assignment and the broker's id. None: there is
#: more to do than this fetch, or less, so that the fetcher has to look at everything.
NextFetch = Callable[[Any, int], Fetch | None]


def fetch_in_sessions(fetcher: Any) -> NextFetch:
    """Make an aiokafka `fetcher` plan its fetches by state, and fetch in a session of each broker."""
    sessions: dict[int, FetchSession] = defaultdict(FetchSession)
    plan_in_general = fetcher._get_actions_per_node
    send_request = fetcher._client.send

    def plan(assignment: Any) -> Any:
        asked = _usual(fetcher, assignment, fetcher._in_flight)
        if asked is not None:
            by_node, backoff = asked
            if backoff == fetcher._fetcher_timeout:  # nothing waits to be taken
                for node in sessions.keys() - by_node.keys() - fetcher._in_flight:
                    # It leads nothing now. Its session would go on with the ends of logs of before, and would
                    # not tell them again if it led those partitions once more.
                    sessions[node].renew()
            fetches = [
                (node, Fetch(fetcher, assignment, each, sessions[node])) for node, each in by_node.items()
            ]
            return fetches, {}, backoff, False, []
        requests, *rest = plan_in_general(assignment)
        return [
            (node, Fetch(fetcher, assignment, asked_in(request, assignment), sessions[node]))
            for node, request in requests
        ], *rest

    async def send(node: int, request: Any, **options: Any) -> Any:
        if type(request) is not Fetch:
            return await send_request(node, request, **options)
        try:
            answer = await send_request(node, request, **options)
        except BaseException:  # nobody knows what the broker has told
            request.session.renew()
            raise
        if type(answer) is FetchAnswer:
            request.take(answer)
        return answer

    def next_fetch(assignment: Any, node: int) -> Fetch | None:
        asked = _usual(fetcher, assignment, fetcher._in_flight - {node})
        if asked is None or asked[0].keys() != {node}:
            return None
        return Fetch(fetcher, assignment, asked[0][node], sessions[node])

    fetcher._get_actions_per_node = plan
    fetcher._client.send = send
    return next_fetch


def _usual(
    fetcher: Any, assignment: Any, in_flight: Collection[int]
) -> tuple[dict[int, list[Asked]], float] | None:
    """Plan as aiokafka does, where each partition has a leader and a position; None: it plans itself.

    Args:
        fetcher: of aiokafka.
        assignment: of aiokafka.
        in_flight: brokers that have a fetch.

    Returns:
        What to ask each broker for, and seconds until the next look.
    """
    if fetcher._preferred_read_replica:
        return None
    records = fetcher._records
    leaders = fetcher._client.cluster._partitions
    by_node: dict[int, list[Asked]] = {}
    waits: dict[int, float] = {}
    for place, state in assignment._tp_state.items():
        topic, number = place
        try:
            node = leaders[topic][number].leader
        except KeyError:
            return None
        if place in records:
            if wait := records[place].calculate_backoff():
                waits[node] = max(wait, waits.get(node, 0.0))
        elif node not in in_flight:
            if node == -1 or (offset := state._position) is None or state._paused:
                return None
            if node in by_node:
                by_node[node].append((place, state, offset))
            else:
                by_node[node] = [(place, state, offset)]
    for node in waits:  # somebody is about to take what came from it
        by_node.pop(node, None)
    return by_node, min(waits.values()) if waits else fetcher._fetcher_timeout
