"""The demo's own count: what was fed, what came of it, and whether the two agree. Pure.

Everything is counted by the place of the action record (topic, partition, offset), of which an email's ``id``
is made. An ``actionId`` would not do: the same one may come again. Fed and seen may be told in any order, as
the reader can be faster than the producer's acknowledgement.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, NoReturn

from streams.messages.decode import ASKS_FOR_CONFIRMATION

_SURELY_FITS = 900_000
"""Bytes of an action whose email is surely no larger than a topic takes (max.message.bytes, by default)."""


class Asks(Enum):
    """What has to come of an action."""

    EMAIL = "email"
    EMAIL_OR_DEAD_LETTER = "email or dead letter"  # the worker may find that it cannot be read
    NOTHING = "nothing"


def asks(value: bytes) -> Asks:
    """What has to come of a line, by its content and not by what the worker makes of it."""
    if len(value) > _SURELY_FITS:
        return Asks.EMAIL_OR_DEAD_LETTER
    try:
        action = json.loads(str(value, "utf-8"), parse_constant=_refuse, object_pairs_hook=_unambiguous)
        if action["stage"] != ASKS_FOR_CONFIRMATION:
            return Asks.NOTHING if isinstance(action["stage"], str) else Asks.EMAIL_OR_DEAD_LETTER
        contact = action["contact"]
        numbers = action["actionId"], action["orgId"]
        texts = contact["contactRef"] if "contactRef" in contact else contact["ref"], contact["email"]
        texts[0].encode(), texts[1].encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Asks.EMAIL_OR_DEAD_LETTER
    readable = all(type(number) is int and abs(number) < 2**53 for number in numbers)
    return Asks.EMAIL if readable and all(text.strip() for text in texts) else Asks.EMAIL_OR_DEAD_LETTER


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


class Email(NamedTuple):
    """What the audit wants to know of an email; outcome and cause are empty where there is none."""

    variant: str
    reason: str
    outcome: str = ""
    cause: str = ""


@dataclass(slots=True)
class Tally:
    """One phase: what was fed in it, and what came of that, whenever it came. Delays in seconds."""

    actions: int = 0
    emails: Counter[tuple[str, str]] = field(default_factory=Counter)  # by variant and reason
    causes: Counter[str] = field(default_factory=Counter)  # of failed lookups
    dead_letters: Counter[str] = field(default_factory=Counter)  # by error class
    delays: list[float] = field(default_factory=list)
    known_delays: list[float] = field(default_factory=list)  # of supporters whose status was known

    @property
    def emails_out(self) -> int:
        """Emails of every kind."""
        return self.emails.total()

    def add(self, email: Email, delay: float) -> None:
        """Count an email that came `delay` seconds after its action."""
        self.emails[email.variant, email.reason] += 1
        if email.cause:
            self.causes[email.cause] += 1
        self.delays.append(delay)
        if not email.outcome and email.reason.startswith("known_"):
            self.known_delays.append(delay)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the count came to.

    Attributes:
        actions: fed, and ask for an email; dead letters are not among them.
        emails: every email seen.
        missing: actions without an email, and without a dead letter that their content explains.
        doubled: actions with more than one email, or an email and a dead letter.
        uncalled: emails that no action of ours asked for.
        ignored: actions that ask for nothing and got nothing.
        dead_letters: actions that became a dead letter, as their content may explain.
        unexplained: actions that became a dead letter though nothing is wrong with them; they are missing.
    """

    actions: int
    emails: int
    missing: int
    doubled: int
    uncalled: int
    ignored: int
    dead_letters: int
    unexplained: int

    def __str__(self) -> str:
        return f"{self.actions} actions, {self.emails} emails, {self.missing} missing, {self.doubled} doubled"

    @property
    def holds(self) -> bool:
        """Whether every action that asks for an email has exactly one, and nobody else has any."""
        return self.actions == self.emails and not (self.missing or self.doubled or self.uncalled)


@dataclass(slots=True)
class _Fate:
    """One place. An email may be here before the place is known to have been fed."""

    phase: int | None = None
    asks: Asks = Asks.EMAIL
    sent_at: float = 0.0
    emails: int = 0
    dead_letters: list[str] = field(default_factory=list)
    first: Email | None = None
    seen_at: float = 0.0


class Audit:
    """Counts. Places are named by the id that an email from there has; times are seconds since the epoch."""

    def __init__(self, phases: int) -> None:
        """Start at zero, for so many phases."""
        self.phases = [Tally() for _ in range(phases)]
        self._fates: dict[str, _Fate] = {}
        self._awaited: set[str] = set()

    @property
    def awaited(self) -> int:
        """Actions fed that still have neither email nor dead letter, and should."""
        return len(self._awaited)

    def fed(self, place: str, phase: int, asks: Asks, sent_at: float) -> None:
        """An action record is in `place`, sent in that phase."""
        fate = self._fate(place)
        fate.phase, fate.asks, fate.sent_at = phase, asks, sent_at
        tally = self.phases[phase]
        tally.actions += 1
        tally.dead_letters.update(fate.dead_letters)
        if fate.first is not None:
            tally.add(fate.first, fate.seen_at - sent_at)
        elif asks is not Asks.NOTHING and not fate.dead_letters:
            self._awaited.add(place)

    def email(self, place: str, email: Email, seen_at: float) -> None:
        """The reader has an email for `place`."""
        fate = self._fate(place)
        fate.emails += 1
        self._awaited.discard(place)
        if fate.first is None:
            fate.first, fate.seen_at = email, seen_at
            if fate.phase is not None:
                self.phases[fate.phase].add(email, seen_at - fate.sent_at)

    def dead_letter(self, place: str, error_class: str) -> None:
        """The reader has a dead letter for `place`."""
        fate = self._fate(place)
        fate.dead_letters.append(error_class)
        self._awaited.discard(place)
        if fate.phase is not None:
            self.phases[fate.phase].dead_letters[error_class] += 1

    def verdict(self) -> Verdict:
        """The count so far; final once nothing is awaited and the reader is at the end."""
        counts: Counter[str] = Counter()
        for fate in self._fates.values():
            counts["emails"] += fate.emails
            counts[_came_to(fate)] += 1
            counts["doubled"] += fate.phase is not None and fate.emails + len(fate.dead_letters) > 1
            counts["uncalled"] += fate.emails * (fate.phase is None or fate.asks is Asks.NOTHING)
        return Verdict(
            actions=counts["confirmed"] + counts["missing"] + counts["unexplained"],
            emails=counts["emails"],
            missing=counts["missing"] + counts["unexplained"],
            doubled=counts["doubled"],
            uncalled=counts["uncalled"],
            ignored=counts["ignored"],
            dead_letters=counts["dead letter"],
            unexplained=counts["unexplained"],
        )

    def _fate(self, place: str) -> _Fate:
        return self._fates.setdefault(place, _Fate())


def _came_to(fate: _Fate) -> str:
    if fate.phase is None:
        return "not ours"
    if fate.emails:
        return "uncalled for" if fate.asks is Asks.NOTHING else "confirmed"
    if fate.dead_letters:
        return "unexplained" if fate.asks is Asks.EMAIL else "dead letter"
    return "ignored" if fate.asks is Asks.NOTHING else "missing"


def objections(verdict: Verdict, phases: Sequence[str], tallies: Sequence[Tally]) -> list[str]:
    """Why a demo did not show what it should, a sentence each; empty: all is well."""
    found = []
    if not verdict.holds:
        found.append("actions and emails do not match one to one")
    if verdict.unexplained:
        classes = ", ".join(sorted(set().union(*(tally.dead_letters for tally in tallies))))
        found.append(
            f"{verdict.unexplained} actions without fault became dead letters (error classes: {classes})"
        )
    if verdict.uncalled:
        found.append(f"{verdict.uncalled} emails were asked for by no action")
    found += [
        f"no email left for the actions of phase {number}, {name}"
        for number, (name, tally) in enumerate(zip(phases, tallies, strict=True), start=1)
        if not tally.emails_out
    ]
    return found
