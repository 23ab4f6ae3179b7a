"""The bytes of a fetch and of its answer are those of the protocol's schemas."""

from __future__ import annotations

import struct
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.protocol.api import RequestHeader_v1, ResponseHeader_v0
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11, FetchResponse_v11
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.fetch_wire import FetchAnswer, FetchOverWire, Limits, request

INT8, INT16, INT32, INT64 = (st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64))
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
PLACES = st.builds(TopicPartition, TEXT, INT32)
LIMITS = st.builds(Limits, INT32, INT32, INT32, INT32, INT8, TEXT)
STATE = SimpleNamespace()


def by_topic(places: list[Any]) -> list[tuple[str, list[Any]]]:
    """Group (topic, what is said of a partition) by topic, in the order in which each topic comes first."""
    topics: dict[str, list[Any]] = {}
    for topic, said in places:
        topics.setdefault(topic, []).append(said)
    return list(topics.items())


def by_schema(
    limits: Limits,
    session: int,
    epoch: int,
    asked: list[tuple[TopicPartition, int]],
    forgotten: list[TopicPartition],
) -> FetchRequest_v11:
    most = limits.most_of_partition
    return FetchRequest_v11(
        -1,
        limits.wait,
        limits.fewest,
        limits.most,
        limits.isolation,
        session,
        epoch,
        by_topic([(place.topic, (place.partition, -1, offset, -1, most)) for place, offset in asked]),
        by_topic(forgotten),
        limits.rack,
    )


@given(
    LIMITS,
    INT32,
    INT32,
    st.lists(st.tuples(PLACES, INT64), max_size=9),
    st.lists(PLACES, max_size=9),
)
def test_a_request_is_what_its_schema_says(
    limits: Limits,
    session: int,
    epoch: int,
    asked: list[tuple[TopicPartition, int]],
    forgotten: list[TopicPartition],
) -> None:
    """Whatever is in it, each byte is the one that the schema gives."""
    made = request(limits, session, epoch, [(place, STATE, offset) for place, offset in asked], forgotten)
    assert made.encode() == by_schema(limits, session, epoch, asked, forgotten).encode()


def test_the_partitions_of_a_topic_go_together() -> None:
    """However partitions of several topics alternate, each topic is named once, and none is lost."""
    limits = Limits(500, 1, 50 << 20, 1 << 20, 1, "")
    places = [TopicPartition(topic, number) for number in range(3) for topic in ("a", "ключ", "🗝")]
    asked = [(place, offset) for offset, place in enumerate(places)]
    made = request(limits, 7, 3, ((place, STATE, offset) for place, offset in asked), iter(places))
    read = FetchRequest_v11.decode(made.encode())
    assert [topic for topic, _ in read.topics] == ["a", "ключ", "🗝"]
    assert read == by_schema(limits, 7, 3, asked, places)


@given(LIMITS, st.lists(st.tuples(PLACES, INT64), max_size=9))
def test_a_request_without_a_session_differs_from_the_usual_one_in_its_epoch_only(
    limits: Limits, asked: list[tuple[TopicPartition, int]]
) -> None:
    """The broker is asked what aiokafka's own request of these partitions asks it."""
    most = limits.most_of_partition
    topics = by_topic([(place.topic, (place.partition, offset, most)) for place, offset in asked])
    stock = FetchRequest(limits.wait, limits.fewest, limits.most, limits.isolation, topics, limits.rack)
    made = request(limits, 0, -1, [(place, STATE, offset) for place, offset in asked], ())
    assert made.encode() == stock.prepare({1: (4, 17)}).encode()


@given(INT32, TEXT)
def test_a_header_is_what_its_schema_says(correlation: int, client: str) -> None:
    """Whatever the client's name, each byte is the one that the schema gives."""
    made = FetchOverWire(b"")
    header = RequestHeader_v1(made, correlation_id=correlation, client_id=client)
    assert made.build_request_header(correlation, client).encode() == header.encode()


ABORTED = st.none() | st.lists(st.tuples(INT64, INT64), max_size=3)
RECORDS = st.none() | st.binary(max_size=60)
PARTITIONS = st.lists(st.tuples(INT32, INT16, INT64, INT64, INT64, ABORTED, INT32, RECORDS), max_size=4)
ANSWERS = st.builds(FetchResponse_v11, INT32, INT16, INT32, st.lists(st.tuples(TEXT, PARTITIONS), max_size=4))


def framed(correlation: int, answer: FetchResponse_v11) -> bytes:
    header: bytes = ResponseHeader_v0(correlation).encode()
    body: bytes = answer.encode()
    return header + body


def read(frame: bytes) -> tuple[int, FetchAnswer]:
    """Read a frame as aiokafka's connection does."""
    made = FetchOverWire(b"")
    buffer = BytesIO(frame)
    correlation = made.parse_response_header(buffer).correlation_id
    return correlation, made.RESPONSE_TYPE.decode(buffer)


@given(INT32, ANSWERS)
def test_an_answer_is_read_as_its_schema_says(correlation: int, answer: FetchResponse_v11) -> None:
    """With errors, null and empty records, null and several aborted transactions, of any topics."""
    frame = framed(correlation, answer)
    by_aiokafka = FetchResponse_v11.decode(frame[4:])
    found_correlation, found = read(frame)
    assert found_correlation == correlation
    assert (found.error_code, found.session_id) == (by_aiokafka.error_code, by_aiokafka.session_id)
    assert found.topics == by_aiokafka.topics
    assert (found.API_KEY, found.API_VERSION) == (by_aiokafka.API_KEY, by_aiokafka.API_VERSION)


def partition(number: int, records: bytes | None, aborted: list[tuple[int, int]] | None) -> tuple[Any, ...]:
    return number, 0, 12, 11, 3, aborted, -1, records


@pytest.mark.parametrize(
    "topics",
    [
        [],
        [("actions", [])],
        [("actions", [partition(0, None, None)])],
        [("actions", [partition(0, b"", [])])],
        [("actions", [partition(0, b"records", None)])],
        [("actions", [partition(0, b"one", [(7, 1), (8, 2)]), partition(1, b"two", [])])],
        [
            ("ключ🗝", [partition(5, b"a", [(1, 2)])]),
            ("b", [partition(0, None, None), partition(2, b"c", None)]),
        ],
    ],
    ids=[
        "nothing",
        "no partition",
        "null records",
        "no records",
        "records",
        "aborted transactions",
        "several topics",
    ],
)
def test_an_answer_that_is_cut_short_is_refused(topics: list[Any]) -> None:
    """Wherever it ends, nothing is made up for what is lacking, and a part of the records is not taken."""
    frame = framed(9, FetchResponse_v11(0, 0, 5, topics))
    read(frame)
    otherwise = {}
    for length in range(len(frame)):
        try:
            otherwise[length] = read(frame[:length])[1].topics
        except struct.error:
            continue
    assert otherwise == {}, f"of {len(frame)} bytes"


def test_an_answer_that_is_cut_short_within_a_character_is_refused() -> None:
    """The caller is told that it is too short, and not that a topic has an impossible name."""
    frame = framed(9, FetchResponse_v11(0, 0, 5, [("ключ🗝", [partition(0, None, None)])]))
    for length in range(len(frame)):
        with pytest.raises(struct.error):
            read(frame[:length])
