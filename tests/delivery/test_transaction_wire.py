"""The bytes of a transaction's requests and answers are those of the protocol's schemas."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from aiokafka.protocol.api import RequestHeader_v2, ResponseHeader_v1
from aiokafka.protocol.struct import Struct
from hypothesis import example, given
from hypothesis import strategies as st

from streams.delivery.transaction_protocol import Identity
from streams.delivery.transaction_requests import (
    EndTxnRequest_v5,
    EndTxnResponse_v5,
    ProduceRequest_v12,
    ProduceResponse_v12,
    TxnOffsetCommitRequest_v5,
    TxnOffsetCommitResponse_v5,
)

NO_TAGS: dict[int, bytes] = {}

INT16, INT32, INT64 = (st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (16, 32, 64))
TEXT = st.text(max_size=20) | st.just("ä" * 80)
IDENTITIES = st.builds(Identity, TEXT, INT64, INT16)


def by_topic(partitions: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Of some topics, some partitions; at times more than 127 of them, for which a length has two bytes."""
    some = st.lists(partitions, max_size=3)
    many = st.builds(lambda each, count: [each] * count, partitions, st.integers(126, 130))
    return st.lists(
        st.builds(lambda topic, each: (topic, each, NO_TAGS), TEXT, some | many),
        max_size=2,
    )


def by_schema(struct: Any) -> bytes:
    encoded: bytes = struct.SCHEMA.encode([struct.get_item(name) for name in struct.SCHEMA.names])
    return encoded


@given(TEXT | st.none(), INT16, INT32, by_topic(st.tuples(INT32, st.binary(max_size=300), st.just(NO_TAGS))))
@example("id", -1, 40_000, [("emails", [(7, b"x" * 70_000, NO_TAGS)], NO_TAGS), ("dead", [], NO_TAGS)])
def test_a_produce_request_is_what_its_schema_says(name: Any, acks: int, timeout: int, topics: Any) -> None:
    """Whatever is in it, each byte is the one that the schema gives."""
    request = ProduceRequest_v12(name, acks, timeout, topics, NO_TAGS)
    assert request.encode() == by_schema(request)


@given(
    IDENTITIES,
    TEXT,
    st.tuples(INT32, TEXT, TEXT | st.none()),
    by_topic(st.tuples(INT32, INT64, INT32, TEXT, st.just(NO_TAGS))),
)
def test_an_offset_request_is_what_its_schema_says(
    who: Identity, group: str, member: tuple[int, str, str | None], topics: Any
) -> None:
    """Whatever is in it, each byte is the one that the schema gives."""
    request = TxnOffsetCommitRequest_v5(who[0], group, *who[1:], *member, topics, NO_TAGS)
    assert request.encode() == by_schema(request)


@given(IDENTITIES, st.booleans(), INT32, TEXT)
def test_an_end_and_its_header_are_what_their_schemas_say(
    who: Identity, commit: bool, correlation: int, client: str
) -> None:
    """Whatever is in them, each byte is the one that the schema gives."""
    request = EndTxnRequest_v5(*who, commit, NO_TAGS)
    assert request.encode() == by_schema(request)
    header = RequestHeader_v2(request, correlation_id=correlation, client_id=client)
    assert request.build_request_header(correlation, client).encode() == header.encode()


RECORD_ERRORS = st.lists(st.tuples(INT32, TEXT | st.none(), st.just(NO_TAGS)), max_size=2) | st.none()
TEXT_OR_NOTHING = st.none() | TEXT
ANSWERS = st.one_of(
    st.builds(
        ProduceResponse_v12,
        by_topic(
            st.tuples(INT32, INT16, INT64, INT64, INT64, st.just([]), st.none(), st.just(NO_TAGS))
            | st.tuples(INT32, INT16, INT64, INT64, INT64, RECORD_ERRORS, TEXT_OR_NOTHING, st.just(NO_TAGS))
        ),
        INT32,
        st.just(NO_TAGS),
    ),
    st.builds(
        TxnOffsetCommitResponse_v5,
        INT32,
        by_topic(st.tuples(INT32, INT16, st.just(NO_TAGS))),
        st.just(NO_TAGS),
    ),
    st.builds(EndTxnResponse_v5, INT32, INT16, INT64, INT16, st.just(NO_TAGS)),
)
#: A tag with its length, which aiokafka reads and cannot write.
TAG = b"\x01\x05\x02ab"


def read(answer: Any, frame: bytes) -> tuple[Any, Any]:
    """Read a frame as aiokafka's connection does, for a request with this kind of answer."""
    buffer = BytesIO(frame)
    header = EndTxnRequest_v5("id", 1, 2, True, NO_TAGS).parse_response_header(buffer)
    return header, type(answer).decode(buffer)


def read_by_schema(answer: Any, frame: bytes) -> Any:
    buffer = BytesIO(frame)
    ResponseHeader_v1.decode(buffer)
    return type(answer)(*[field.decode(buffer) for field in answer.SCHEMA.fields])


@pytest.mark.parametrize("header_tags", [b"\0", TAG], ids=["no tag", "a tag"])
@pytest.mark.parametrize("tags", [b"\0", TAG], ids=["no tag", "a tag"])
@given(answer=ANSWERS, correlation=INT32)
def test_an_answer_is_read_as_its_schema_says(
    answer: Any, correlation: int, header_tags: bytes, tags: bytes
) -> None:
    """With errors of records, texts, null arrays and tags, too, in the header and at the end."""
    frame = correlation.to_bytes(4, "big", signed=True) + header_tags + answer.encode()[:-1] + tags
    header, found = read(answer, frame)
    assert header.correlation_id == correlation
    assert found == read_by_schema(answer, frame)


USUAL = pytest.mark.parametrize(
    "answer",
    [
        ProduceResponse_v12([("a", [(0, 0, 1, 2, 3, [], None, NO_TAGS)], NO_TAGS)], 0, NO_TAGS),
        TxnOffsetCommitResponse_v5(0, [("a", [(0, 0, NO_TAGS)], NO_TAGS)], NO_TAGS),
        EndTxnResponse_v5(0, 0, 41, 3, NO_TAGS),
    ],
)


@USUAL
def test_an_answer_of_the_usual_form_is_read_without_its_schema(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes with each transaction is never read field by field."""
    frame = b"\0\0\0\7\0" + answer.encode()
    right = read_by_schema(answer, frame)

    def by_field(*_: Any) -> None:
        raise AssertionError("read field by field")

    monkeypatch.setattr(Struct, "decode", by_field)
    assert read(answer, frame)[1] == right


@USUAL
def test_an_answer_that_is_cut_short_is_refused(answer: Any) -> None:
    """Wherever it ends, nothing is made up for what is lacking."""
    frame = b"\0\0\0\7\0" + answer.encode()
    for length in range(4, len(frame)):
        with pytest.raises(Exception, match=r".") as refused:
            read(answer, frame[:length])
        assert type(refused.value).__name__ in {"error", "ValueError"}
