"""Which actions have letters about the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.messages.decode import decode_action, status_key
from streams.messages.letter_key import letter_key

EXAMPLES = sorted((Path(__file__).parents[2] / "schemas/examples/action").glob("*.json"))
KEY = b"310:ref"


def about(action_id: int = 7, custom_fields: Any = None, key: bytes = KEY, **more: Any) -> bytes:
    action = {"customFields": custom_fields}
    return letter_key(key, orjson.dumps({"actionId": action_id, "action": action, **more}))


def test_the_same_action_with_other_contents_is_the_same() -> None:
    """Only organisation, person, actionId and the reminder's flag count."""
    assert about() == about(custom_fields={"comment": "x"}, tracking={"source": "s"})
    assert about() == letter_key(KEY, b'{"actionId":7}')
    assert len({about(), about(8), about(key=b"311:ref"), about(key=b"310:other")}) == 4


@pytest.mark.parametrize("flag", [False, None, 1, "true", [], {}])
def test_only_true_makes_a_reminder(flag: object) -> None:
    """A reminder is another letter than the first one; nothing but the JSON value true makes one."""
    assert about(custom_fields={"reminder": True}) != about()
    assert about(custom_fields={"reminder": flag}) == about()


@pytest.mark.parametrize("action", [None, [], "x", 1, {"customFields": [True]}, {"customFields": "x"}])
def test_an_action_of_another_shape_is_no_reminder(action: object) -> None:
    """What is not where it should be is not looked for."""
    assert letter_key(KEY, orjson.dumps({"actionId": 7, "action": action})) == about()


def test_what_the_fast_decoder_refuses_is_read_all_the_same() -> None:
    """Lone surrogates, and keys that come twice: the last one wins, as in an action."""
    surrogate = b'{"actionId":7,"action":{"customFields":{"comment":"\\ud800","reminder":true}}}'
    assert letter_key(KEY, surrogate) == about(custom_fields={"reminder": True})
    assert letter_key(KEY, b'{"actionId":"x","actionId":7}') == about()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_action_that_asks_for_an_email_has_one(path: Path) -> None:
    """What an action can be decoded from is enough, and the key tells nothing of its person."""
    value = path.read_bytes()
    action = decode_action(value, "deliver")
    if action is not None:
        key = letter_key(status_key(action.org_id, action.contact_ref), value)
        assert len(key) == 32
        assert int(key, 16) >= 0


@given(st.integers(0, 1 << 70), st.booleans(), st.integers(0, 1 << 70), st.booleans())
def test_two_keys_are_equal_exactly_if_what_counts_is(one: int, first: bool, two: int, second: bool) -> None:
    """Whatever the numbers are."""
    value, other = (
        b'{"actionId":%d,"action":{"customFields":{"reminder":%b}}}' % (number, b"true" if flag else b"false")
        for number, flag in ((one, first), (two, second))
    )
    assert (letter_key(KEY, value) == letter_key(KEY, other)) == ((one, first) == (two, second))
