"""A short run of ``make fuzz``, and faults that such a run must see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.actions.processor import ActionProcessor
from streams.delivery.results import Record
from tests.fuzz.__main__ import fuzz, kept
from tests.fuzz.path import ROUND


async def test_every_record_is_an_email_a_dead_letter_or_ignored() -> None:
    """Each strange record ends in one of these ways, once; the good ones between them get their emails."""
    fuzzed = await fuzz(1, range(1))
    assert fuzzed.failures == []
    assert fuzzed.records == ROUND
    assert fuzzed.outcomes.keys() > {"emailed", "rekeyed", "ignored", "not_json", "field_type", "status"}


def _loses(process: Callable[[Any, Record], Any], self: Any, record: Record) -> Any:
    """Take some of the good records for poison."""
    if record.offset % 30 == 0:
        return self.on_error(record, ZeroDivisionError())
    return process(self, record)


async def test_a_lost_neighbour_is_seen_and_kept_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A good record that becomes a dead letter is a failure, and the file has its record, seed and round."""
    process = ActionProcessor.process
    monkeypatch.setattr(ActionProcessor, "process", lambda self, record: _loses(process, self, record))
    fuzzed = await fuzz(1, range(1))
    number, failure = next(each for each in fuzzed.failures if "is good" in each[1].what)
    assert failure.sent is not None
    file = kept(tmp_path, 1, number, failure)
    assert failure.sent.key is not None
    assert all(part in file.read_text() for part in ('"seed": 1', '"round": 0', failure.sent.key.hex()))


async def test_a_header_that_is_no_text_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An email whose headers are not as their schema says is a failure."""
    monkeypatch.setattr("streams.messages.email.trace_headers", list)
    fuzzed = await fuzz(1, range(2))
    assert {"a header of its email is no UTF-8 text"} <= {failure.what for _, failure in fuzzed.failures}
