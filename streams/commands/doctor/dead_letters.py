"""Dead letters: new ones, and partitions that have stopped because there are too many. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from streams.actions.dead_letter import LEAST, WINDOW
from streams.commands.dead_letters.letters import DeadLetter
from streams.commands.doctor.findings import Finding, ok, problem, warning

CHECK = "dead letters"
#: Offsets from the end of each partition that are looked at: the limit's window, with room for the markers
#: of transactions.
SAMPLE = 4 * WINDOW
_NEW = 3_600  # seconds


def check_recent(found: Iterable[DeadLetter], now: float) -> list[Finding]:
    """Tell how many dead letters there are of the last hour; `now` in seconds since the epoch."""
    classes = Counter(each.error_class for each in found if each.timestamp / 1000 > now - _NEW)
    if not classes:
        return [ok(CHECK, "none in the last hour")]
    listed = ", ".join(f"{name} {count:,}" for name, count in classes.most_common())
    return [
        warning(
            CHECK,
            f"{classes.total():,} in the last hour ({listed})",
            "`streams dead-letters list` says which; mend their cause, then `streams dead-letters retry`",
        )
    ]


def check_limit(
    topic: str,
    found: Iterable[DeadLetter],
    committed: Mapping[int, int | None],
    waiting: Collection[int],
    share: float,
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
    """
    origins: dict[int, list[int]] = {}
    for each in found:
        if each.topic == topic and each.source is not None:
            origins.setdefault(each.source.partition, []).append(each.source.offset)
    findings = []
    for number in sorted(waiting):
        end = committed.get(number)
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
                    "`streams dead-letters list` says why; mend what writes or reads them, or raise"
                    " STREAMS_DEAD_LETTER_CEILING, and restart the worker",
                )
            )
    return findings
