"""How far a long reading is."""

from __future__ import annotations

import os
import select

import pytest

from streams.commands.progress_bar import Watching


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_elsewhere_than_on_a_terminal_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing for a short one; then a line every five seconds, with rate and share, on standard error."""
    clock = Clock()
    with Watching("records", clock) as watching:
        for seconds, read in ((1.0, 100), (5.0, 500), (6.0, 600), (10.0, 1_000), (30.0, 2_000)):
            clock.now = seconds
            watching.show(read, 2_000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "500 records read (100/s), 25%",
        "1,000 records read (100/s), 50%",
        "2,000 records read (67/s), 100%",
    ]


def test_on_a_terminal_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn on standard error and taken away in the end."""
    ours, theirs = os.openpty()
    clock = Clock()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with Watching("records", clock) as watching:
            clock.now = 3.0
            watching.show(900, 1_000)
        terminal.flush()
        raw = b""
        while select.select([ours], [], [], 0.2)[0]:  # one read need not give all of it
            raw += os.read(ours, 100_000)
        drawn = raw.decode()
    os.close(ours)
    assert "900 records read (300/s)" in drawn
    assert "━" in drawn
