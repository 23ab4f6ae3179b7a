"""Which messages ask for no confirmation, and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.messages.decode import Undecodable, decode_action
from streams.messages.no_letter import NoLetter, is_repeat, why_no_letter
from tests import examples

BARE = examples.valid("action")["bare-minimum"]


def with_privacy(privacy: bytes, extra: bytes = b"") -> bytes:
    """A complete action with this ``privacy``."""
    return BARE[:-1] + b',"privacy":' + privacy + extra + b"}"


@pytest.mark.parametrize("schema", ["proca:event:1", "proca:event:2"])
@pytest.mark.parametrize("more", [{}, {"x": "\ud800"}])
def test_an_event_asks_for_no_confirmation(schema: str, more: dict[str, Any]) -> None:
    """It has no stage, and is understood all the same, whichever way it is read."""
    message = {"schema": schema, "eventType": "email_status", "orgId": 310, **more}
    value = json.dumps(message).encode()
    assert decode_action(value) is None
    assert why_no_letter(value) is NoLetter.EVENT


@pytest.mark.parametrize(
    "value",
    [
        b"{}",
        b'{"schema":"proca:action:2"}',
        b'{"schema":["proca:event:2"]}',
        b'{"schema":"x","comment":"proca:event:2"}',
        b'{"schema":"proca:event:2","stage":""}',
        b'{"schema":"proca:event:2","stage":null}',
    ],
)
def test_what_has_no_stage_and_is_no_event_is_a_fault(value: bytes) -> None:
    """Only the schema of an event excuses that the stage is missing."""
    with pytest.raises(Undecodable):
        decode_action(value)


@pytest.mark.parametrize(
    "value",
    [
        b'{"stage":"deliver","schema":"proca:event:2"}',
        b'{"stage":"deliver","x":"\\ud800"}',
        b'{"stage":"deliver","schema":"\\ud800"}',
        b'{"stage":"deliver","schema":' + b"7" * 5_000 + b"}",
    ],
)
def test_an_action_of_another_stage_is_no_event(value: bytes) -> None:
    """Whatever its schema is, and also where it cannot be read as a whole."""
    assert decode_action(value) is None
    assert why_no_letter(value) is NoLetter.STAGE


@pytest.mark.parametrize("extra", [b"", b',"x":"\\ud800"'])
def test_a_consent_of_false_asks_for_no_confirmation(extra: bytes) -> None:
    """JSON false in privacy.withConsent, whichever way the action is read, and whatever else is missing."""
    for value in (
        with_privacy(b'{"optIn":null,"withConsent":false}', extra),
        with_privacy(b'{"with\\u0043onsent":false}', extra),
        b'{"stage":"supporter_confirm","privacy":{"withConsent":false}' + extra + b"}",
    ):
        assert decode_action(value) is None
        assert why_no_letter(value) is NoLetter.NO_CONSENT


@pytest.mark.parametrize("extra", [b"", b',"x":"\\ud800"'])
@pytest.mark.parametrize(
    "privacy",
    [
        b"null",
        b"{}",
        b"[]",
        b"false",
        b'"withConsent"',
        *(
            b'{"withConsent":' + value + b"}"
            for value in (b"true", b"null", b"0", b"0.0", b'""', b'"false"', b"[]", b"{}", b"[false]")
        ),
        b'{"withConsent":{"withConsent":false}}',
        b'{"withconsent":false}',
        b'{"optIn":false}',
    ],
)
def test_anything_else_than_false_asks_for_one(privacy: bytes, extra: bytes) -> None:
    """Every action that asks for a confirmation gets its email: nothing but false says that it does not."""
    assert decode_action(with_privacy(privacy, extra)) == decode_action(BARE)


@pytest.mark.parametrize("extra", [b"", b',"x":"\\ud800"'])
@pytest.mark.parametrize(
    ("dupe_rank", "asks"),
    [
        *((each, True) for each in (b"1", b"12", b"1" * 300)),
        *((each, False) for each in (b"0", b"-1", b"true", b"null", b'"1"', b"1.5", b"[1]")),
    ],
)
def test_at_a_stage_for_repeat_signers_only_they_ask(dupe_rank: bytes, asks: bool, extra: bytes) -> None:
    """A contact.dupeRank above 0 asks for an email at that stage, if the worker is told so, and only then."""
    value = BARE.replace(b"supporter_confirm", b"deliver")
    value = value.replace(b'"contact":{', b'"contact":{"dupeRank":' + dupe_rank + b",")[:-1] + extra + b"}"
    assert decode_action(value) is None
    assert decode_action(value, "action_confirm") is None
    assert decode_action(value, "deliver") == (decode_action(BARE) if asks else None)
    assert why_no_letter(value) is NoLetter.STAGE


@pytest.mark.parametrize("contact", [b"", b',"contact":null', b',"contact":7', b',"contact":{"email":[]}'])
def test_at_that_stage_what_is_no_repeat_signer_is_ignored_unread(contact: bytes) -> None:
    """Whatever else is wrong with an action that asks for nothing, it is no dead letter."""
    assert decode_action(b'{"stage":"deliver"' + contact + b"}", "deliver") is None


@pytest.mark.parametrize("number", [True, 0, -1, 1.0, "1", None])
def test_only_a_whole_number_above_zero_is_a_repeat(number: object) -> None:
    """For Python a bool is a number; for JSON it is not."""
    assert not is_repeat(number)
