"""Actions that lie in the wrong partition."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.actions.rekeying import REKEYED_FROM, Rekeying, rekeyed_from
from streams.messages.keys import partition_of

KEY = b"310:ref-1"


def test_an_action_is_moved_only_where_its_key_does_not_belong() -> None:
    """In the key's own partition nothing is moved, in every other it is."""
    home = partition_of(KEY, 6)
    moved = [number for number in range(6) if Rekeying("moved", number, 6).needed(KEY)]
    assert moved == [number for number in range(6) if number != home]


def test_a_moved_action_keeps_everything_and_knows_its_first_place() -> None:
    """Value, headers and timestamp stay; key and partition are right; the first place can be read back."""
    record = SimpleNamespace(partition=3, offset=77, value=b"{}", headers=(("a", b"b"),), timestamp=123)
    outgoing = Rekeying("moved", 3, 6).outgoing(record, KEY)
    assert (outgoing.topic, outgoing.key, outgoing.value) == ("moved", KEY, b"{}")
    assert (outgoing.partition, outgoing.timestamp) == (partition_of(KEY, 6), 123)
    assert outgoing.headers == [("a", b"b"), (REKEYED_FROM, b"3/77")]
    assert rekeyed_from(SimpleNamespace(headers=outgoing.headers)) == (3, 77)


def test_a_record_that_was_not_moved_by_us_has_no_first_place() -> None:
    """Without our header there is nothing to read."""
    with pytest.raises(KeyError):
        rekeyed_from(SimpleNamespace(headers=()))
