"""Actions that lie in the wrong partition."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.actions.rekeying import (
    REKEYED_FROM,
    REKEYED_TIMESTAMP,
    Rekeying,
    rekeyed_from,
    with_first_timestamp,
)
from streams.messages.keys import partition_of

KEY = b"310:ref-1"


def test_an_action_is_moved_only_where_its_key_does_not_belong() -> None:
    """In the key's own partition nothing is moved, in every other it is."""
    home = partition_of(KEY, 6)
    moved = [number for number in range(6) if Rekeying("moved", number, 6).needed(KEY)]
    assert moved == [number for number in range(6) if number != home]


def test_a_moved_action_keeps_its_bytes_and_knows_its_first_place_and_time() -> None:
    """Value and headers stay; key and partition are right; the first place and time can be read back."""
    record = SimpleNamespace(partition=3, offset=77, value=b"{}", headers=(("a", b"b"),), timestamp=123)
    outgoing = Rekeying("moved", 3, 6).outgoing(record, KEY)
    assert (outgoing.topic, outgoing.key, outgoing.value) == ("moved", KEY, b"{}")
    assert outgoing.partition == partition_of(KEY, 6)
    assert outgoing.headers == [("a", b"b"), (REKEYED_FROM, b"3/77"), (REKEYED_TIMESTAMP, b"123")]
    written = SimpleNamespace(offset=5, timestamp=999, key=KEY, value=b"{}", headers=outgoing.headers)
    assert rekeyed_from(written) == (3, 77, 0)
    assert with_first_timestamp(written) == (5, 123, KEY, b"{}", outgoing.headers)


def test_a_moved_action_knows_the_epoch_of_its_first_place() -> None:
    """Epoch 0 is not written; whatever header of ours an action came with, the last one counts."""
    for epoch, text in ((0, b"3/77"), (2, b"3/77?epoch=2")):
        record = SimpleNamespace(
            offset=77, value=b"{}", headers=((REKEYED_FROM, b"3/1?epoch=9"),), timestamp=123
        )
        headers = Rekeying("moved", 3, 6).outgoing(record, KEY, epoch).headers
        assert headers[1] == (REKEYED_FROM, text)
        assert rekeyed_from(SimpleNamespace(headers=headers)) == (3, 77, epoch)


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        b"3",
        b"3/",
        b"/7",
        b"-5/-7",
        b"03/7",
        b"3/7/1",
        b"3/7?epoch=0",
        b"3/7?epoch=" + b"9" * 11,
        b"3?epoch=1/7",
        b"3/7\n",
        b" 3/7",
        b"3/%d" % (1 << 63),
        b"%d/7" % (1 << 31),
        b"3/" + b"9" * 4_000,
        "٣/٧".encode(),
    ],
)
def test_a_record_that_was_not_moved_by_us_has_no_first_place(text: bytes | None) -> None:
    """A header that we never write, or none, says nothing; the record then keeps its own timestamp."""
    for headers in ((), ((REKEYED_FROM, text),), ((REKEYED_FROM, b"3/7"), (REKEYED_FROM, text))):
        assert rekeyed_from(SimpleNamespace(headers=headers)) is None


@pytest.mark.parametrize("text", [None, b"", b"3/7", b"1.5", b"9" * 4_000, "٣".encode()])
def test_a_time_that_cannot_be_read_is_the_record_s_own(text: bytes | None) -> None:
    """A record that an older worker moved, or somebody else wrote, keeps its timestamp."""
    for headers in ((), ((REKEYED_TIMESTAMP, text),)):
        record = SimpleNamespace(offset=5, timestamp=999, key=KEY, value=b"", headers=headers)
        assert with_first_timestamp(record).timestamp == 999
