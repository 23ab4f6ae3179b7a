"""The topics: there, with one partition count, and configured so that nothing gets lost. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streams.commands.doctor.findings import Finding, note, ok, problem, seconds, warning
from streams.commands.installation import Described
from streams.delivery.topic_limits import ORDINARY_BYTES
from streams.kafka.topics import TopicNames

CHECK = "topics"
#: What helps against a topic that is missing.
MADE_AT_START = "a worker creates it when it starts, if it may"
_DAY = 86_400_000  # milliseconds
_WEEK = 7 * _DAY


def check_layout(described: Described, names: TopicNames, window: float = 0.0) -> Iterator[Finding]:
    """Look at what was described; `window` is that for duplicates, in seconds."""
    there = [name for name in names.all if name in described.partitions]
    for name in names.all:
        if name not in there:
            yield problem(CHECK, f"{name} is missing", MADE_AT_START)
    counts = {name: described.partitions[name] for name in there}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        yield problem(
            CHECK,
            f"partition counts differ: {listed}",
            "they must be equal, as an action meets its status by partition: no worker starts like this."
            " Partitions can only be added: raise the smaller counts while producers are stopped, and let"
            " the CRM write all statuses again, as their keys now belong elsewhere",
        )
    elif there:
        yield ok(CHECK, f"{len(there)} there, {counts[there[0]]} partitions each")
    for name in there:
        yield from _replication(described, name)
    if not described.configs:
        yield note(CHECK, "we may not read configurations", "allow DescribeConfigs on the topics")
        return
    yield from _in_sync(described, there)
    yield from _emails(described, names)
    yield from _compaction(described, names)
    yield from _dead_letters(described, names)
    yield from _marks(described, names, window)
    yield from _sizes(described, names)


def _replication(described: Described, name: str) -> Iterator[Finding]:
    replicas = described.replicas[name]
    in_sync = int(described.config(name, "min.insync.replicas", "1"))
    if in_sync > replicas:
        yield problem(
            CHECK,
            f"{name} has {replicas} replicas and min.insync.replicas {in_sync}: nothing can be written",
            f"lower min.insync.replicas to {max(1, replicas - 1)}, or add replicas",
        )
    elif replicas == 1:
        yield warning(
            CHECK,
            f"{name} has one replica: a lost disk is lost records",
            "in production 3 replicas, min.insync.replicas 2",
        )
    elif in_sync == 1:
        yield warning(
            CHECK,
            f"{name} has min.insync.replicas 1: what was acknowledged can be lost with one broker",
            "set it to 2 (with 3 replicas)",
        )
    elif in_sync == replicas:
        yield warning(
            CHECK,
            f"{name} has as many replicas as min.insync.replicas, {in_sync}: one broker away stops it",
            "set min.insync.replicas one below the replicas",
        )


def _emails(described: Described, names: TopicNames) -> Iterator[Finding]:
    name = names.emails
    if name not in described.partitions:
        return
    if "compact" in described.config(name, "cleanup.policy", "delete"):
        yield problem(
            CHECK,
            f"{name} is compacted: of two emails to one supporter it forgets the first",
            "set cleanup.policy to delete",
        )
    kept = int(described.config(name, "retention.ms", str(_WEEK)))
    if 0 <= kept < 3 * _DAY:
        yield warning(
            CHECK,
            f"{name} keeps emails for {seconds(kept / 1000)}: a mailer that is away longer loses them",
            "set retention.ms to 604800000 (7 days) or more",
        )
    else:
        yield ok(CHECK, f"{name} keeps emails {'for ever' if kept < 0 else f'for {seconds(kept / 1000)}'}")
    if int(described.config(name, "retention.bytes", "-1")) >= 0:
        yield warning(
            CHECK,
            f"{name} has retention.bytes: a wave of actions pushes out emails that nobody has read yet",
            "set retention.bytes to -1, and bound it by time",
        )


def _compaction(described: Described, names: TopicNames) -> Iterator[Finding]:
    for name in (names.statuses, names.changelog):
        if name not in described.partitions:
            continue
        policy = {part.strip() for part in described.config(name, "cleanup.policy", "compact").split(",")}
        if "compact" not in policy:
            yield problem(
                CHECK,
                f"{name} is not compacted: it forgets by age who is a subscriber",
                "set cleanup.policy to compact",
            )
        elif "delete" in policy:
            yield warning(
                CHECK,
                f"{name} is compacted and also deletes by age: old statuses are forgotten",
                "set cleanup.policy to compact alone",
            )


def _dead_letters(described: Described, names: TopicNames) -> Iterator[Finding]:
    if "compact" in described.config(names.dead_letters, "cleanup.policy", "delete"):
        yield problem(
            CHECK,
            f"{names.dead_letters} is compacted: of dead letters with the same key, only the last is kept",
            "set cleanup.policy to delete",
        )


def _in_sync(described: Described, there: Sequence[str]) -> Iterator[Finding]:
    remedy = "bring the missing brokers back"
    lacking = [name for name in there if described.in_sync[name] < described.replicas[name]]
    waiting = [
        name
        for name in lacking
        if described.in_sync[name] < int(described.config(name, "min.insync.replicas", "1"))
    ]
    if waiting:
        yield problem(
            CHECK,
            f"{', '.join(waiting)}: a partition has fewer replicas in sync than min.insync.replicas:"
            " what is written to it waits",
            remedy,
        )
    if rest := [name for name in lacking if name not in waiting]:
        yield warning(
            CHECK, f"{', '.join(rest)}: a partition has replicas that are not in sync, or not there", remedy
        )


def _marks(described: Described, names: TopicNames, window: float) -> Iterator[Finding]:
    name = names.marks
    if name is None or name not in described.partitions:
        return
    if "delete" not in described.config(name, "cleanup.policy", "delete"):
        yield warning(
            CHECK,
            f"{name} deletes nothing by age: it has a mark for each email that was ever written",
            "set cleanup.policy to compact,delete",
        )
        return
    kept = int(described.config(name, "retention.ms", str(_WEEK)))
    if 0 <= kept < 1000 * window:
        yield problem(
            CHECK,
            f"{name} keeps marks for {seconds(kept / 1000)}, which is less than STREAMS_DUPLICATE_WINDOW:"
            " after a restart, actions that come twice get two emails",
            "set retention.ms to 604800000 (7 days)",
        )
    elif 0 <= kept < _WEEK:
        yield warning(
            CHECK,
            f"{name} keeps marks for {seconds(kept / 1000)}: of actions from before, no audit can say whether"
            " they were passed over",
            "set retention.ms to 604800000 (7 days) or more",
        )


def _sizes(described: Described, names: TopicNames) -> Iterator[Finding]:
    actions = described.max_message_bytes(names.actions)
    for name, what in (
        (names.emails, "an action of that size becomes a dead letter instead of an email"),
        (names.dead_letters, "a dead letter of that size is shortened"),
        (names.rekeyed, "an action of that size becomes a dead letter if it has to be re-keyed"),
    ):
        if name not in described.partitions:
            continue
        limit = described.max_message_bytes(name)
        remedy = f"set max.message.bytes of {name} to at least {actions + 4_096}"
        taken = f"{name} takes records up to {limit:,} bytes"
        if limit < ORDINARY_BYTES and name != names.dead_letters:
            yield problem(CHECK, f"{taken}: partitions with an action that is larger wait", remedy)
        elif limit < actions:
            yield warning(CHECK, f"{taken}, {names.actions} up to {actions:,}: {what}", remedy)
