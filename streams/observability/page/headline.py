"""The sentence at the top of the page: whether emails leave, and whether a person must act. Pure policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Seconds after which what mends itself is taken to need a person: as long as the alert that wakes one waits.
PATIENCE = 300.0
#: Seconds that an action may wait before it is worth a word. A lookup's deadline is 30 s at most.
LATE = 60.0
#: Of a lookup's questions in a minute: so many, and a smaller share of them answered, is worth a word.
FEW, SHARE = 10, 0.8


class Level(StrEnum):
    """Whether somebody has to get up."""

    GOOD = "good"
    MENDING = "mending"  # not as it should be, and a person need not act now
    ACT = "act"


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the sentence needs to know of an organisation's lookup."""

    label: str
    down_for: float | None = None  # seconds; None: its breaker is closed
    asked: int = 0  # in the last minute
    share: float | None = None  # of them, answered

    @property
    def weak(self) -> bool:
        """Whether its breaker is closed, and yet it fails often."""
        asked_enough = self.down_for is None and self.asked >= FEW
        return asked_enough and self.share is not None and self.share < SHARE


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the sentence is made from. Times in seconds."""

    decisions: Sequence[str] = ()  # what waits for a person's decision
    not_alive: Sequence[str] = ()
    not_ready: Sequence[str] = ()
    not_ready_for: float = 0.0
    oldest_age: float | None = None  # age of the oldest action taken and not committed
    waiting: int = 0  # actions, read or not
    lookups: Sequence[Lookup] = ()
    dead_letters: int = 0  # in the last ten minutes
    emails: int = 0  # in the last ten minutes
    partitions: int = 1  # that this worker has


@dataclass(frozen=True, slots=True)
class Status:
    """What to say: the first words, what follows, and the same without times for a voice."""

    level: Level
    headline: str
    rest: str
    spoken: str


def conclude(facts: Facts) -> Status:
    """Return what to say; the gravest fact speaks."""
    if facts.decisions:
        return _status(Level.ACT, "A person must act.", f"{facts.decisions[0]}.")
    if facts.not_alive:
        rest = f"{facts.not_alive[0]}. Restart this worker if nothing else does."
        return _status(Level.ACT, "Emails are stuck.", rest, "A person must act.")
    if facts.not_ready:
        return _waiting(facts)
    if facts.oldest_age is not None and facts.oldest_age > LATE:
        return _late(facts.oldest_age)
    return _leaving(facts)


def _waiting(facts: Facts) -> Status:
    why = facts.not_ready[0]
    if facts.not_ready_for < PATIENCE:
        headline = "Emails wait."
        return _status(Level.MENDING, headline, f"{_capital(why)}. The worker goes on by itself.", why)
    rest = f"For {spell(facts.not_ready_for)}: {why}. A person must look."
    return _status(Level.ACT, "Emails wait too long.", rest, f"{_capital(why)}. A person must look.")


def _late(oldest_age: float) -> Status:
    rest = f"The oldest action has waited {spell(oldest_age)}."
    if oldest_age < PATIENCE:
        later = "The worker is catching up by itself, or tries to."
        return _status(Level.MENDING, "Emails leave late.", f"{rest} {later}", later)
    return _status(Level.ACT, "Emails leave too late.", f"{rest} A person must look.", "A person must look.")


def _leaving(facts: Facts) -> Status:
    notes, spoken = [], []
    down = [lookup for lookup in facts.lookups if lookup.down_for is not None]
    weak = [lookup for lookup in facts.lookups if lookup.weak]
    if len(down) == 1:
        (lookup,) = down
        letter = "its signers get the two-button letter"
        notes.append(f"Lookup of {lookup.label} has been down for {spell(lookup.down_for or 0.0)}: {letter}.")
        spoken.append(f"Lookup of {lookup.label} is down: {letter}.")
    elif down:
        longest = spell(max(lookup.down_for or 0.0 for lookup in down))
        letter = "their signers get the two-button letter"
        notes.append(f"{len(down)} lookups are down, the first for {longest}: {letter}.")
        spoken.append(f"{len(down)} lookups are down: {letter}.")
    if weak:
        first = weak[0]
        more = f", and {len(weak) - 1} more" if len(weak) > 1 else ""
        notes.append(f"Lookup of {first.label} answers {percent(first.share or 0.0)} of its questions{more}.")
        spoken.append(f"Lookup of {first.label} fails often{more}.")
    if facts.dead_letters:
        one = facts.dead_letters == 1
        became = (
            "1 record became a dead letter" if one else f"{facts.dead_letters} records became dead letters"
        )
        notes.append(f"{became} in ten minutes: no email can be made from {'it' if one else 'them'}.")
        spoken.append("There are new dead letters.")
    if notes:
        notes.append("Nobody needs to get up.")
        return _status(Level.MENDING, "Emails leave.", " ".join(notes), " ".join(spoken))
    if not facts.partitions:
        rest = "Other workers have all the partitions; this one stands by."
        return _status(Level.GOOD, "Nothing to send here.", rest)
    if not facts.emails and not facts.waiting:
        rest = "No action asked for an email in the last ten minutes. The worker is ready."
        return _status(Level.GOOD, "Nothing to send.", rest)
    return _status(Level.GOOD, "Emails leave.", "Nobody needs to act.")


def _status(level: Level, headline: str, rest: str, spoken: str | None = None) -> Status:
    rest = _capital(rest)
    return Status(level, headline, rest, f"{headline} {rest if spoken is None else _capital(spoken)}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def percent(share: float) -> str:
    """Return a share for people: never 100 % unless it is all, never 0 % unless it is none."""
    rounded = round(share * 100)
    if 0 < share < 1:
        rounded = min(99, max(1, rounded))
    return f"{rounded} %"


def spell(seconds: float) -> str:
    """Return a duration for people: 12 s, 3 min, 2 h, 4 d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(1, int(seconds))} s"
