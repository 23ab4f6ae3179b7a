"""Dead letters that wait for a person, and partitions that have stopped for too many of them. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from streams.actions.dead_letter import LEAST, WINDOW
from streams.commands.dead_letters.letters import DeadLetter
from streams.commands.doctor.findings import Finding, note, ok, problem, warning
from streams.commands.topic_reader import RecordId

CHECK = "dead letters"
#: Offsets from the end of each partition that are looked at: the limit's window, with room for the markers
#: of transactions.
SAMPLE = 4 * WINDOW
_NEW = 3_600.0  # seconds
#: Seconds for which Kafka keeps what a person decided: a week (offsets.retention.minutes), less a day, since
#: what is accepted beforehand was decided somewhat earlier than its dead letter was written.
_DECISIONS_KEPT = 6 * 86_400.0
_REMEDY = (
    "`streams dead-letters list` says which; mend their cause, then `streams dead-letters retry`, or"
    " `streams dead-letters accept TOPIC PARTITION latest` for those that need no email"
)


def check_waiting(found: Iterable[DeadLetter], now: float, known: Collection[RecordId] = ()) -> list[Finding]:
    """Tell how many dead letters wait for a person, whatever their age.

    Of one that is older than a week nobody can tell whether a person has retried or accepted it: Kafka
    forgets that. It is a warning then, or what was accepted would be a problem again.

    Args:
        found: the newest dead letters.
        now: seconds since the epoch.
        known: those that a person has retried or accepted.
    """
    found = list(found)
    undecided = [each for each in found if each.id not in known]
    ages = {each.id: now - each.timestamp / 1000 for each in undecided}
    waiting = [each for each in undecided if ages[each.id] <= _DECISIONS_KEPT]
    findings = []
    if waiting:
        recent = sum(ages[each.id] < _NEW for each in waiting)
        findings.append(
            problem(
                CHECK,
                f"{_classes(waiting)}, neither retried nor accepted; {recent:,} in the last hour",
                _REMEDY,
            )
        )
    if untold := [each for each in undecided if ages[each.id] > _DECISIONS_KEPT]:
        findings.append(
            warning(
                CHECK,
                f"{_classes(untold)} of more than 6 days ago, of which Kafka may have forgotten whether a"
                " person retried or accepted them",
                _REMEDY,
            )
        )
    return findings or [ok(CHECK, f"{len(found):,}, retried or accepted" if found else "none")]


def _classes(letters: Iterable[DeadLetter]) -> str:
    """Return how many there are, and of which classes."""
    classes = Counter(each.error_class for each in letters)
    listed = ", ".join(f"{name} {count:,}" for name, count in classes.most_common())
    return f"{classes.total():,} ({listed})"


def accepted_among(found: Iterable[DeadLetter], accepted: Mapping[str, Mapping[int, int]]) -> set[RecordId]:
    """Return the dead letters that a person has accepted.

    Args:
        found: dead letters.
        accepted: by topic and partition, the offset before which they are accepted.
    """
    return {
        each.id
        for each in found
        if each.source is not None
        and each.source.offset < accepted.get(each.topic, {}).get(each.source.partition, 0)
    }


def check_limit(
    topic: str,
    found: Iterable[DeadLetter],
    committed: Mapping[int, int | None],
    waiting: Collection[int],
    share: float,
    accepted: Mapping[int, int],
) -> list[Finding]:
    """Tell which partitions have stopped at the limit (STREAMS_DEAD_LETTER_CEILING).

    A partition that stops has a dead letter as its last action before the committed offset, more than the
    share of dead letters before it, and actions behind it.

    Args:
        topic: the actions topic.
        found: the newest dead letters.
        committed: the group's offset by partition of `topic`; None: nothing.
        waiting: the partitions whose next action has waited for long.
        share: the limit, 0 to 1.
        accepted: by partition, the offset before which a person accepts dead letters.
    """
    origins: dict[int, list[int]] = {}
    for each in found:
        if each.topic == topic and each.source is not None:
            origins.setdefault(each.source.partition, []).append(each.source.offset)
    findings = []
    for number in sorted(waiting):
        end = committed.get(number)
        if end is not None and accepted.get(number, 0) > end:
            continue
        dead = sorted({at for at in origins.get(number, ()) if end is not None and at < end}, reverse=True)
        if end is None or not dead or dead[0] != end - 1:
            continue
        windows = ((count, max(LEAST, end - at)) for count, at in enumerate(dead, 1))
        over = [(count, size) for count, size in windows if size <= WINDOW and count > share * size]
        if over:
            count, size = over[-1]
            findings.append(
                problem(
                    CHECK,
                    f"{topic}/{number} has stopped at offset {end:,}: {count:,} of its last {size:,} actions"
                    f" are dead letters, which is more than the ceiling of {share:g}",
                    "`streams dead-letters list` says why; mend what writes or reads them."
                    f" `streams dead-letters accept {topic} {number} latest` lets those pass that are there;"
                    " a higher STREAMS_DEAD_LETTER_CEILING takes a restart",
                )
            )
    return findings


def check_accepted(
    topic: str, committed: Mapping[int, int | None], accepted: Mapping[int, int]
) -> list[Finding]:
    """Tell where a person accepts dead letters that are still to come.

    Args:
        topic: whose actions they are made of.
        committed: the group's offset by partition of `topic`; None: nothing.
        accepted: by partition, the offset before which a person accepts dead letters.
    """
    return [
        note(
            CHECK,
            f"a person accepts the dead letters of {topic}/{number} before offset {before:,}; the group is at"
            f" {committed.get(number) or 0:,}",
            "from that offset on, STREAMS_DEAD_LETTER_CEILING holds again",
        )
        for number, before in sorted(accepted.items())
        if before > (committed.get(number) or 0)
    ]
