"""How far a long command is."""

import os
import pty
import threading
from collections.abc import Callable

import pytest

from streams.commands.progress_bar import ProgressBar
from tests.timing import Clock


def test_elsewhere_than_on_a_terminal_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing for a short one; then a line every five seconds, with rate and share, on standard error."""
    clock = Clock()
    with ProgressBar(clock) as bar:
        show = bar.counting("records read")
        for seconds, read in ((1.0, 100), (5.0, 500), (6.0, 600), (10.0, 1_000), (30.0, 2_100)):
            clock.now = seconds
            show(read, 2_000)
        clock.now = 40.0
        show(3_000, 0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "500 records read (100/s), 25%",
        "1,000 records read (100/s), 50%",
        "2,100 records read (70/s), 100%",
        "3,000 records read (75/s)",
    ]


def test_each_piece_of_work_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than on a terminal a line when it begins, unless the command is still young; no steps."""
    clock = Clock()
    with ProgressBar(clock) as bar:
        bar.begin("looking at brokers")
        clock.now = 3.0
        bar.begin("looking at topics", 10)
        bar.step(5)
    with ProgressBar(clock, silent_for=0.0) as bar:
        bar.begin("starting Kafka")
    assert capsys.readouterr().err.splitlines() == ["looking at topics …", "starting Kafka …"]


def drawn_by(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> str:
    """Run `work` with a terminal as its standard error; return what came to the terminal."""
    ours, theirs = pty.openpty()
    pieces: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 100_000):
                pieces.append(piece)
        except OSError:  # the last one on the other side is gone
            return

    reading = threading.Thread(target=read)
    reading.start()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        work()
    reading.join()
    os.close(ours)
    return b"".join(pieces).decode()


def test_on_a_terminal_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn on standard error and taken away in the end."""
    clock = Clock()

    def work() -> None:
        with ProgressBar(clock) as bar:
            clock.now = 3.0
            bar.counting("records read")(900, 1_000)

    drawn = drawn_by(monkeypatch, work)
    assert "900 records read (300/s)" in drawn
    assert "━" in drawn
    assert drawn.endswith("\x1b[2K"), "the bar's line is empty again"


def test_on_a_terminal_a_piece_of_work_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that goes away leaves nothing to read, so it need not wait."""

    def work() -> None:
        with ProgressBar(Clock()) as bar:
            bar.begin("looking at topics", 10)
            bar.step(10)

    assert "looking at topics" in drawn_by(monkeypatch, work)
