"""Whether a worker uses the native pass."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from streams.native import worker
from streams.native.library import load
from streams.native.worker import NativeLanes, native_lanes
from streams.settings.load import load_settings
from tests.native.built import library


def lanes_with(**settings: str) -> NativeLanes | None:
    environ = {f"STREAMS_{name.upper()}": value for name, value in settings.items() if name != "otlp"}
    if "otlp" in settings:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings["otlp"]
    return native_lanes(
        load_settings(environ), lambda: 0.0, lambda *_: None, lambda say: asyncio.run(_awaited(say))
    )


async def _awaited(task: Callable[[], Awaitable[None]]) -> None:
    await task()


def test_the_native_pass_can_be_off(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that is told so takes the path in Python, and says nothing."""
    assert lanes_with(native_pass="off") is None
    assert caplog.records == []


def test_the_native_pass_is_used_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker then has an index of the size that is set, and gathers what it fetches."""
    monkeypatch.setattr(worker, "load", library)
    lanes = lanes_with(native_index="1")
    assert lanes is not None
    assert lanes.gather(b"", (), 0) is None


@pytest.mark.parametrize(
    ("settings", "why", "level"),
    [
        ({"duplicate_window": "60"}, "STREAMS_DUPLICATE_WINDOW is set", logging.INFO),
        ({"otlp": "http://127.0.0.1:1"}, "OTEL_EXPORTER_OTLP_ENDPOINT is set", logging.INFO),
        ({"store": "memory"}, "STREAMS_STORE is memory", logging.INFO),
        ({}, "build it with python -m streams.native.build", logging.WARNING),
    ],
    ids=["a window for duplicates", "traces", "a store in memory", "not built"],
)
def test_a_worker_says_once_why_it_does_not_use_the_native_pass(
    settings: dict[str, str],
    why: str,
    level: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """One line with the reason, a warning where nobody chose it; the worker then runs without it."""
    monkeypatch.setattr(worker, "load", lambda: load(tmp_path / "missing.so"))
    with caplog.at_level(logging.INFO):
        assert lanes_with(**settings) is None
    (record,) = caplog.records
    assert why in record.getMessage()
    assert record.levelno == level
    assert record.__dict__["event"] == "native_pass_not_used"
