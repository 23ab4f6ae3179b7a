"""What is seen of the demo: a live table on a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from streams.sandbox.account import Tally
from streams.sandbox.demo.phases import Phase
from streams.sandbox.demo.table import figures, line

_QUIET = 2.0  # seconds without a word that are no worry
_WIDTH = 110  # columns
_LINES = 3.0  # seconds between two lines about a phase under way


class View:
    """What the demo shows: plain lines, each written once and at once."""

    #: Seconds between two calls of ``running``.
    interval = _LINES

    def __init__(self, console: Console) -> None:
        """Write to this console, never folding a line."""
        self._console = console

    @contextmanager
    def step(self, doing: str) -> Iterator[Callable[[str], None]]:
        """Something that takes time begins; what it gives takes details on the way.

        A line at the start; after a while one for each new detail; one at the end if that was long.
        """
        self.say(f"{doing} …")
        begin = last = time.monotonic()
        told = ""

        def tell(detail: str) -> None:
            nonlocal last, told
            now = time.monotonic()
            if now - last >= _QUIET and detail != told:
                last, told = now, detail
                self.say(f"  {detail} …")

        yield tell
        took = time.monotonic() - begin
        if took >= _QUIET:
            self.say(f"  done ({took:.1f} s)")

    def say(self, text: str, style: str = "") -> None:  # noqa: ARG002 - there are no colours here
        """Say something."""
        # Not by rich's own print, which folds at 80 columns where there is no terminal.
        self._console.file.write(f"{text}\n")
        self._console.file.flush()

    def phase(self, phase: Phase) -> None:
        """A phase begins."""
        self.say(f"Lookup service: {phase}, for {phase.seconds:g} s")

    def running(self, phases: Sequence[Phase], tallies: Sequence[Tally], current: int, left: float) -> None:
        """Show how far it is; the current phase lasts for `left` seconds more."""
        tally = tallies[current]
        self.say(
            f"  {tally.actions} actions, {tally.emails_out} emails so far, {left:.0f} s more of"
            f" {phases[current].name}"
        )

    def ended(self, phase: Phase, tally: Tally) -> None:
        """A phase has ended."""
        self.say(f"  {line(phase, tally)}")

    def final(self, phases: Sequence[Phase], tallies: Sequence[Tally]) -> None:
        """Show the table of all phases, to stay."""
        self.close()
        self._console.print(figures(phases, tallies, len(phases) - 1))

    def close(self) -> None:
        """Leave the terminal as it was."""


class LiveView(View):
    """A table that is painted over, on a terminal. It has every phase: none is told besides."""

    interval = 0.25

    def __init__(self, console: Console) -> None:
        """Use this terminal."""
        super().__init__(console)
        self._live: Live | None = None

    @contextmanager
    def step(self, doing: str) -> Iterator[Callable[[str], None]]:
        """A spinner while it takes, a line when it is done."""
        self.close()
        begin = time.monotonic()
        with self._console.status(Text(f"{doing} …")) as status:
            yield lambda detail: status.update(Text(f"{doing} … {detail}"))
        self._console.print(Text(f"✓ {doing} ({time.monotonic() - begin:.1f} s)"))

    def say(self, text: str, style: str = "") -> None:
        """A line above the table."""
        self._console.print(Text(text, style))

    def phase(self, phase: Phase) -> None:
        """Nothing more."""

    def running(self, phases: Sequence[Phase], tallies: Sequence[Tally], current: int, left: float) -> None:
        """Paint the table anew."""
        if self._live is None:
            # Not in a thread of rich's: the table is made from counts that change meanwhile.
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        total_left = left + sum(phase.seconds for phase in phases[current + 1 :])
        status = Text(
            f"\nLookup service: {phases[current]}, {left:.0f} s more; {total_left:.0f} s to the end.",
            "bold",
        )
        self._live.update(Group(figures(phases, tallies, current), status), refresh=True)

    def ended(self, phase: Phase, tally: Tally) -> None:
        """Nothing more."""

    def close(self) -> None:
        """Take the live table off."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def open_view(console: Console | None = None) -> View:
    """Return the view that fits where standard output goes."""
    console = console or Console()
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console)
    console.width = _WIDTH  # a file has none of its own
    return View(console)
