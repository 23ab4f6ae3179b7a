import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.actions.decision import decide
from streams.messages.decode import (
    Action,
    Cause,
    LookupOutcome,
    Outcome,
    Reason,
    Variant,
    decode_action,
)
from streams.messages.email import EVENT_TYPE, NAMESPACE, EmailWriter
from streams.messages.lookup_reply import decode_lookup_reply
from tests import examples

ACTIONS = {
    name: value for name, value in examples.valid("action").items() if decode_action(value) is not None
}
REPLY = b'{"privacy":{"optIn":true},"action":{"customFields":{"n":123456789012345678901,"s":"\\u00e9"}}}'
TIME = 1795514400.123  # 2026-11-24T10:00:00.123Z
TRACE = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", b"v=1")]
#: Every row of the decision table: what the table knows, and what the lookup came to.
ROWS: list[tuple[bool | None, LookupOutcome | None]] = [
    (True, None),
    (False, None),
    (None, None),
    (None, LookupOutcome(Outcome.EXISTING)),
    (None, decode_lookup_reply(REPLY)),
    (None, LookupOutcome(Outcome.NON_EXISTING)),
    (None, LookupOutcome(Outcome.NON_EXISTING, custom_fields=b'{"a":[]}')),
    *((None, LookupOutcome(Outcome.ERROR, cause)) for cause in Cause),
]

topics = st.text("abcXYZ019._-", min_size=1, max_size=30)
partitions = st.integers(0, 2**31 - 1)
offsets = st.integers(0, 2**63 - 1)


def action_of(value: bytes) -> Action:
    action = decode_action(value)
    assert action is not None
    return action


def write(
    value: bytes,
    subscribed: bool | None = None,
    lookup: LookupOutcome | None = None,
    headers: Any = (),
    offset: int = 5,
    decided_at: float = TIME,
) -> tuple[bytes, list[tuple[str, bytes]]]:
    variant, reason = decide(subscribed, lookup)
    writer = EmailWriter("actions", 3)
    return writer.write(offset, action_of(value), value, headers, variant, reason, lookup, decided_at)


@pytest.mark.parametrize("name", ACTIONS)
def test_the_action_is_in_the_email_byte_for_byte(name: str) -> None:
    """Whatever an action looks like, its email ends with exactly its bytes."""
    for subscribed, lookup in ROWS:
        email, _ = write(ACTIONS[name], subscribed, lookup)
        assert email.endswith(b',"action":' + ACTIONS[name] + b"}")
        parsed = json.loads(email)
        assert parsed["action"] == json.loads(ACTIONS[name])
        assert parsed["actionId"] == parsed["action"]["actionId"]
        assert parsed["orgId"] == parsed["action"]["orgId"]


@pytest.mark.parametrize(("subscribed", "lookup"), ROWS)
def test_an_email_tells_the_letter_the_reason_and_the_lookup(
    subscribed: bool | None, lookup: LookupOutcome | None
) -> None:
    """Every row of the decision table is told in full."""
    email, headers = write(ACTIONS["greek"], subscribed, lookup)
    parsed = json.loads(email)
    variant, reason = decide(subscribed, lookup)
    assert list(parsed) == [
        *("schema", "id", "variant", "reason", "actionId", "orgId", "decidedAt", "lookup", "action")
    ]
    assert parsed["schema"] == "confirmation-email:1"
    assert (parsed["variant"], parsed["reason"]) == (variant, reason)
    assert dict(headers)["variant"].decode() == variant
    if lookup is None:
        assert parsed["lookup"] is None
    else:
        fields = json.loads(lookup.custom_fields or b"{}")
        assert parsed["lookup"] == {
            "outcome": lookup.outcome,
            "cause": lookup.cause,
            "customFields": fields,
        }


def test_custom_fields_travel_on_unchanged() -> None:
    """The reply's custom fields are in the email as they were sent, numbers and escapes included."""
    email, _ = write(ACTIONS["german"], None, decode_lookup_reply(REPLY))
    assert b'"customFields":{"n":123456789012345678901,"s":"\\u00e9"}' in email


@given(topics, partitions, offsets)
def test_the_id_is_the_uuid_of_the_source_place(topic: str, partition: int, offset: int) -> None:
    """The id is the version 5 UUID of topic/partition/offset, by the standard library's reckoning."""
    assert EmailWriter(topic, partition).id_of(offset) == str(
        uuid.uuid5(NAMESPACE, f"{topic}/{partition}/{offset}")
    )


def test_ids_never_change() -> None:
    """A mailer that was told an id before a deploy is told the same one after it."""
    assert EmailWriter("actions", 0).id_of(0) == "6b0e6d81-7b80-5263-a4a6-f77e7614c82d"
    assert EmailWriter("actions", 3).id_of(41_000) == "412936e4-bd27-5884-9924-7239a95137e7"


@given(topics, partitions, st.integers(1, 1 << 31), offsets)
def test_an_epoch_is_part_of_source_and_id(topic: str, partition: int, epoch: int, offset: int) -> None:
    """The id is the version 5 UUID of ce_source and offset, in every epoch; epoch 0 leaves no trace."""
    writer = EmailWriter(topic, partition, epoch)
    source = f"{topic}/{partition}?epoch={epoch}"
    assert writer.id_of(offset) == str(uuid.uuid5(NAMESPACE, f"{source}/{offset}"))
    assert writer.id_of(offset) != EmailWriter(topic, partition).id_of(offset)
    assert EmailWriter(topic, partition, 0).id_of(offset) == EmailWriter(topic, partition).id_of(offset)


def test_a_place_is_written_the_same_twice_and_two_places_differ() -> None:
    """The same action written again is the same record; the same actionId elsewhere is another email."""
    assert write(ACTIONS["german"]) == write(ACTIONS["german"])
    assert write(ACTIONS["german"], offset=5)[1][0] != write(ACTIONS["german"], offset=6)[1][0]
    near = {EmailWriter(*place).id_of(1) for place in (("a", 1), ("a", 11), ("a/1", 1), ("b", 1))}
    assert len(near) == 4


def test_the_headers_are_a_cloud_event_in_binary_mode() -> None:
    """The headers are those of the Kafka protocol binding, and the variant beside them."""
    email, headers = write(ACTIONS["german"], True)
    assert headers == [
        ("ce_id", json.loads(email)["id"].encode()),
        ("ce_specversion", b"1.0"),
        ("ce_type", EVENT_TYPE.encode()),
        ("ce_source", b"/actions/3"),
        ("content-type", b"application/json"),
        ("ce_time", b"2026-11-24T10:00:00.123Z"),
        ("variant", b"one_button"),
    ]


def test_of_the_source_headers_only_the_trace_travels_on() -> None:
    """The action's trace context goes on; its other headers, which may hold anything, do not."""
    others = [("ce_id", b"not mine"), ("x-user", b"ana@example.org"), ("Traceparent", b"no")]
    for source in (TRACE, TRACE[:1], TRACE[1:], []):
        _, headers = write(ACTIONS["german"], headers=(*others[:1], *source, *others[1:]))
        assert headers == write(ACTIONS["german"])[1] + source


def test_header_lists_are_not_shared() -> None:
    """Whoever changes the headers of one email changes those of no other."""
    writer = EmailWriter("actions", 3)
    value = ACTIONS["german"]
    arguments = (action_of(value), value, (), Variant.TWO_BUTTON, Reason.NO_LOOKUP, None, TIME)
    _, first = writer.write(1, *arguments)
    first.clear()
    _, second = writer.write(2, *arguments)
    assert len(second) == 7


@given(st.lists(st.floats(0, 7_258_118_400), min_size=1, max_size=5))
def test_decided_at_is_utc_to_the_millisecond(seconds: list[float]) -> None:
    """One writer tells many moments until the year 2200, in any order, each to the nearest millisecond."""
    writer = EmailWriter("actions", 3)
    value = ACTIONS["german"]
    for moment in seconds:
        email, _ = writer.write(
            1, action_of(value), value, (), Variant.TWO_BUTTON, Reason.NO_LOOKUP, None, moment
        )
        told = json.loads(email)["decidedAt"]
        assert len(told) == len("2026-11-24T10:00:00.123Z")
        exact = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)
        assert abs((datetime.fromisoformat(told) - exact).total_seconds()) <= 0.000_502


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=15,
    ),
    st.booleans(),
    st.sampled_from(ROWS),
)
def test_an_email_of_any_action_that_is_accepted_can_be_read(
    extra: Any, ascii_only: bool, row: tuple[bool | None, LookupOutcome | None]
) -> None:
    """Whatever passes through unread, the email is JSON for its readers and the action is unchanged."""
    message = json.loads(ACTIONS["bare-minimum"])
    value = json.dumps({"extra": extra, **message}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    email, _ = write(value, *row)
    assert json.loads(email)["action"] == json.loads(value)
    assert email[email.index(b',"action":') + 10 : -1] == value
    if b"\\ud" not in value.lower():  # these two take no lone surrogate
        msgspec.json.decode(email)
        orjson.loads(email)
