"""The demo's figures as text: one row a phase. Pure."""

from collections import Counter
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.messages.decode import Reason, Variant
from streams.observability.quantile import quantile
from streams.sandbox.account import Delay, Tally
from streams.sandbox.demo.phases import Phase

# Heads as narrow as the figures, so that a row fits on a terminal of 80 columns.
_EMAILS = {
    "1 btn\nknown": (Variant.ONE_BUTTON, Reason.KNOWN_SUBSCRIBED),
    "1 btn\nlookup": (Variant.ONE_BUTTON, Reason.LOOKUP_SUBSCRIBED),
    "2 btn\nknown": (Variant.TWO_BUTTON, Reason.KNOWN_NOT_SUBSCRIBED),
    "2 btn\nlookup": (Variant.TWO_BUTTON, Reason.LOOKUP_NOT_SUBSCRIBED),
    "2 btn\nfailed": (Variant.TWO_BUTTON, Reason.LOOKUP_FAILED),
    "2 btn\nnobody": (Variant.TWO_BUTTON, Reason.NO_LOOKUP),
}
_DELAYS = ("ms\np50", "ms\np99", "known\np99")
_LEGEND = (
    "Emails with one or two buttons, and why: the status was known, the lookup said it, the lookup failed,"
    " there was nobody to ask. Delay in ms from the action's timestamp until a read_committed reader has the"
    " email; the last column for supporters with a known status."
)


def milliseconds(delays: Sequence[Delay], share: float) -> str:
    """A quantile of delays as people read it."""
    seconds = quantile(sorted(delay.seconds for delay in delays), share)
    return "–" if seconds is None else f"{seconds * 1000:.0f}"


def counts(counter: Counter[str]) -> str:
    """What was counted, the most frequent first."""
    return ", ".join(f"{what} {count}" for what, count in counter.most_common())


def figures(phases: Sequence[Phase], tallies: Sequence[Tally], current: int) -> RenderableType:
    """The phases up to the current one, and what their failed lookups failed of."""
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)  # the box parts columns
    table.add_column("\nlookup", no_wrap=True)
    for head in ("\nin", "\nout", *_EMAILS, *_DELAYS):
        table.add_column(head, justify="right", no_wrap=True)
    failures = Table.grid(padding=(0, 2, 0, 0))
    for number in range(current + 1):
        phase, tally = phases[number], tallies[number]
        emails = [str(tally.emails[kind]) if tally.emails[kind] else "–" for kind in _EMAILS.values()]
        delays = (
            milliseconds(tally.delays, 0.5),
            milliseconds(tally.delays, 0.99),
            milliseconds(tally.known_delays, 0.99),
        )
        cells = (phase.name, tally.actions, tally.emails_out, *emails, *delays)
        style = "bold" if number == current else None
        table.add_row(*(Text(str(cell)) for cell in cells), style=style)
        if tally.causes:
            failures.add_row(Text(phase.name), Text(counts(tally.causes)), style=style)
    note = Text(_LEGEND, "dim")
    if not failures.row_count:
        return Group(table, note)
    return Group(table, note, Text("\nWhy lookups failed", "bold"), failures)


def line(phase: Phase, tally: Tally) -> str:
    """One phase as a line for a log."""
    kinds = [f"{variant}/{reason} {count}" for (variant, reason), count in sorted(tally.emails.items())]
    parts = [
        f"{phase.name:<9} {tally.actions} actions, {tally.emails_out} emails",
        f"delay p50 {milliseconds(tally.delays, 0.5)} ms"
        f" p99 {milliseconds(tally.delays, 0.99)} ms"
        f" (known supporters p99 {milliseconds(tally.known_delays, 0.99)} ms)",
    ]
    if kinds:
        parts.append(", ".join(kinds))
    if tally.dead_letters:
        parts.append(f"dead letters: {counts(tally.dead_letters)}")
    if tally.causes:
        parts.append(f"lookups failed: {counts(tally.causes)}")
    return " | ".join(parts)
