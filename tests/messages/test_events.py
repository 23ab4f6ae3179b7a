"""Proca's events."""

from __future__ import annotations

import json

import pytest

from streams.messages.decode import Undecodable, decode_action
from streams.messages.events import holds_event


@pytest.mark.parametrize("schema", ["proca:event:1", "proca:event:2"])
def test_an_event_asks_for_no_confirmation(schema: str) -> None:
    """It has no stage, and is understood all the same."""
    value = json.dumps({"schema": schema, "eventType": "email_status", "orgId": 310}).encode()
    assert decode_action(value) is None
    assert holds_event(value)


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
    assert not holds_event(value)
    with pytest.raises(Undecodable):
        decode_action(value)


@pytest.mark.parametrize(
    "value", [b'{"stage":"deliver","schema":"proca:event:2"}', b'["proca:event:2"]', b"proca:event:2"]
)
def test_an_action_of_another_stage_is_no_event(value: bytes) -> None:
    """Whatever its schema is, and also where it cannot be read as a whole."""
    assert not holds_event(value)
