"""Dead letters: new ones, and partitions that have stopped because there are too many. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from streams.actions.dead_letter import LEAST, WINDOW
from streams.commands.dead_letters.letters import DeadLetter
from streams.commands.doctor.findings import Finding, note, ok, problem
from streams.commands.topic_reader import RecordId

CHECK = "dead letters"
#: Offsets from the end of each partition that are looked at: the limit's window, with room for the markers
#: of transactions.
SAMPLE = 4 * WINDOW
_NEW = 3_600  # seconds


def check_recent(found: Iterable[DeadLetter], now: float, known: Collection[RecordId] = ()) -> list[Finding]:
    """Tell how many dead letters of the last hour wait for a person.

    Args:
        found: the newest dead letters.
        now: seconds since the epoch.
        known: those that a person has retried or accepted.
    """
    new = [each for each in found if each.timestamp / 1000 > now - _NEW]
    classes = Counter(each.error_class for each in new if each.id not in known)
    if not classes:
        return [
            ok(
                CHECK,
                f"{len(new):,} in the last hour, retried or accepted" if new else "none in the last hour",
            )
        ]
    listed = ", ".join(f"{name} {count:,}" for name, count in classes.most_common())
    return [
        problem(
            CHECK,
            f"{classes.total():,} in the last hour ({listed}), neither retried nor accepted",
            "`streams dead-letters list` says which; mend their cause, then `streams dead-letters retry`",
        )
    ]


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
