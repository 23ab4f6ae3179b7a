"""The sentence at the top of the page: whether emails leave, and whether a person must act. Pure policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Seconds after which a person must look at what usually ends by itself. The alert waits as long.
PATIENCE = 300.0
#: Seconds that an action may wait before the page says so. A lookup's deadline is 30 s at most.
LATE = 60.0
#: A lookup fails often if it was asked so many questions in a minute, and answered less than this share.
ASKED_ENOUGH, ANSWERED_ENOUGH = 10, 0.8
#: Seconds without a probe, though one is allowed, after which nobody knows any more whether a lookup is down.
DOWN_IS_KNOWN_FOR = 120.0


class Urgency(StrEnum):
    """How soon a person must act."""

    GOOD = "good"
    DEGRADED = "degraded"  # something is wrong, and no person need act now
    ACT = "act"


class LookupCondition(StrEnum):
    """What is known of an organisation's lookup."""

    ANSWERS = "answers"
    FAILS_OFTEN = "fails_often"
    DOWN = "down"  # its breaker is not closed
    UNKNOWN = "unknown"  # it was not asked lately


def is_unasked(probe_due_in: float | None) -> bool:
    """Return whether a lookup's probe is overdue for so long that nobody knows whether it is still down.

    Args:
        probe_due_in: seconds until its breaker lets a probe go, negative once it does; None: none is due.
    """
    return probe_due_in is not None and probe_due_in < -DOWN_IS_KNOWN_FOR


def lookup_condition(
    down_for: float | None, probe_due_in: float | None, asked: int, share: float | None
) -> LookupCondition:
    """Return what is known now of a lookup: one that nobody asks is neither well nor down.

    Args:
        down_for: seconds since its breaker opened; None: it is closed.
        probe_due_in: as for `is_unasked`.
        asked: questions in the last minute.
        share: of them, answered; None: there were none.
    """
    if down_for is not None:
        return LookupCondition.UNKNOWN if is_unasked(probe_due_in) else LookupCondition.DOWN
    if share is None:
        return LookupCondition.UNKNOWN
    often = asked >= ASKED_ENOUGH and share < ANSWERED_ENOUGH
    return LookupCondition.FAILS_OFTEN if often else LookupCondition.ANSWERS


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupFacts:
    """What the headline is told of an organisation's lookup."""

    label: str
    condition: LookupCondition
    down_for: float | None = None  # seconds since its breaker opened; None: it is closed
    share: float | None = None  # answered, of the last minute's questions
    wrong_answer: str | None = None  # what was wrong with its last answer; it quotes nothing


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """All that the headline is made from. Times in seconds."""

    decisions: Sequence[str] = ()  # what only a person can decide
    not_alive: Sequence[str] = ()  # why the process should be restarted
    not_ready: Sequence[str] = ()  # why it does not do its work now, or cannot tell
    not_ready_for: float = 0.0
    oldest_age: float | None = None  # of the oldest action that waits
    waiting: int = 0  # actions in the partitions' logs that have no email yet
    lookups: Sequence[LookupFacts] = ()
    dead_letters: int = 0  # in the last ten minutes
    emails: int = 0  # in the last ten minutes
    partitions: int = 1  # that this worker has


@dataclass(frozen=True, slots=True)
class Headline:
    """What the page says first.

    Attributes:
        urgency: how soon a person must act.
        title: the first words.
        text: what follows them.
        spoken: title and text for a screen reader: without times, so that it does not speak every second.
    """

    urgency: Urgency
    title: str
    text: str
    spoken: str


def headline_of(facts: WorkerFacts) -> Headline:
    """Return what to say; of several problems the worst one."""
    if facts.decisions:
        return _headline(Urgency.ACT, "A person must act.", f"{facts.decisions[0]}.")
    if facts.not_alive:
        text = f"{facts.not_alive[0]}. Restart this worker, unless it is restarted automatically."
        return _headline(Urgency.ACT, "Emails are stuck.", text, "A person must act.")
    if facts.not_ready:
        return _not_ready(facts.not_ready[0], facts.not_ready_for)
    if facts.oldest_age is not None and facts.oldest_age > LATE:
        return _late(facts.oldest_age)
    return _working(facts)


def _not_ready(why: str, seconds: float) -> Headline:
    title = "Emails may be delayed."
    if seconds < PATIENCE:
        text = f"{_capital(why)}. The worker keeps trying; no action is needed yet."
        return _headline(Urgency.DEGRADED, title, text, why)
    text = f"For {duration(seconds)}: {why}. A person must look."
    return _headline(Urgency.ACT, title, text, f"{_capital(why)}. A person must look.")


def _late(seconds: float) -> Headline:
    text = f"The oldest action has waited {duration(seconds)}."
    if seconds < PATIENCE:
        later = "The worker keeps trying; no action is needed yet."
        return _headline(Urgency.DEGRADED, "Emails are late.", f"{text} {later}", later)
    look = "A person must look."
    return _headline(Urgency.ACT, "Emails are too late.", f"{text} {look}", look)


def _working(facts: WorkerFacts) -> Headline:
    notes = [*_lookup_notes(facts.lookups), *_dead_letter_notes(facts.dead_letters)]
    if facts.emails:
        title, text = "Emails leave.", ""
    elif facts.waiting:
        title, text = "Emails are due.", "The oldest action has waited less than a minute."
    elif facts.partitions:
        title, text = "Nothing to send.", "This worker had no action to confirm in the last ten minutes."
    else:
        title, text = "Nothing to send here.", "Other workers have all the partitions; this one is a spare."
    if notes:
        text = " ".join([*(note for note, _ in notes), "No action is needed now."])
        return _headline(Urgency.DEGRADED, title, text, " ".join(spoken for _, spoken in notes))
    return _headline(Urgency.GOOD, title, f"{text} No action is needed.".lstrip())


def _lookup_notes(lookups: Sequence[LookupFacts]) -> list[tuple[str, str]]:
    """Return what is wrong with lookups: for the eye, and for a screen reader."""
    notes = []
    down = [each for each in lookups if each.condition is LookupCondition.DOWN]
    often = [each for each in lookups if each.condition is LookupCondition.FAILS_OFTEN]
    was_down = [each for each in lookups if each.down_for is not None and each not in down]
    if len(down) == 1:
        name, letter = f"The lookup of {down[0].label}", "its supporters get the two-button letter"
        since = duration(down[0].down_for or 0.0)
        notes.append((f"{name} has been down for {since}: {letter}.", f"{name} is down: {letter}."))
    elif down:
        name, letter = f"{len(down)} lookups are down", "their supporters get the two-button letter"
        longest = duration(max(each.down_for or 0.0 for each in down))
        notes.append((f"{name}, one of them for {longest}: {letter}.", f"{name}: {letter}."))
    if often:
        name, more = f"The lookup of {often[0].label}", _more(often)
        share = percent(often[0].share or 0.0)
        notes.append((f"{name} answers {share} of its questions{more}.", f"{name} fails often{more}."))
    if was_down:
        name, more = f"the lookup of {was_down[0].label}", _more(was_down)
        note = f"It is not known whether {name} answers: it was down, and is not asked now{more}."
        notes.append((note, note))
    if wrong := [each for each in lookups if each.wrong_answer is not None]:
        note = f"The lookup of {wrong[0].label} cannot be understood: {wrong[0].wrong_answer}{_more(wrong)}."
        notes.append((note, note))
    return notes


def _more(lookups: Sequence[LookupFacts]) -> str:
    return f" (and {len(lookups) - 1} more)" if len(lookups) > 1 else ""


def _dead_letter_notes(number: int) -> list[tuple[str, str]]:
    if not number:
        return []
    if number == 1:
        note = "1 record became a dead letter in ten minutes: no email can be made from it."
    else:
        note = f"{number} records became dead letters in ten minutes: no email can be made from them."
    return [(note, "There are new dead letters.")]


def _headline(urgency: Urgency, title: str, text: str, spoken: str | None = None) -> Headline:
    text = _capital(text)
    return Headline(urgency, title, text, f"{title} {text if spoken is None else _capital(spoken)}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def percent(share: float) -> str:
    """Return a share for people: never 100 % unless it is all, never 0 % unless it is none."""
    rounded = round(share * 100)
    if 0 < share < 1:
        rounded = min(99, max(1, rounded))
    return f"{rounded} %"


def duration(seconds: float) -> str:
    """Return a duration for people: 12 s, 3 min, 2 h, 4 d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(1, int(seconds))} s"
