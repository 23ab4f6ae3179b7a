"""An audit as text for people and as JSON for programs. No address, name or contactRef is in either."""

from datetime import UTC, datetime
from typing import Any

from streams.commands.audit.matching import Owed
from streams.commands.audit.outcome import AuditResult
from streams.commands.topic_reader import RecordId

#: How the lines begin that name a place.
NAMING = ("missing: ", "doubled: ", "unreadable: ")


def as_json(found: AuditResult, topic: str, listed: int) -> dict[str, Any]:
    """Return an audit as a JSON object; of missing and doubled actions the first `listed` are named."""
    counts = found.counts
    return {
        "holds": found.holds,
        "actions": {
            "records": counts.records,
            "asked": counts.asked,
            "unreadable": counts.unreadable,
            "ignored": counts.ignored,
        },
        "emails": counts.emails,
        "resent": counts.resent,
        "dead_lettered": counts.dead_lettered,
        "duplicates": counts.duplicates,
        "missing": len(found.missing),
        "doubled": len(found.doubled),
        "in_flight": found.in_flight,
        "held_back": found.held_back,
        "expired": found.expired,
        "unasked": found.unasked,
        "unattributed": found.unattributed,
        "earlier_log": counts.earlier_log,
        "foreign": counts.foreign,
        "delay_seconds": counts.delays.seconds(),
        "stamped_before_their_action": counts.delays.negative,
        "group_has_committed": not found.never_committed,
        "emails_topic_compacted": found.compacted,
        "hidden_by_open_transactions": {
            str(number): hidden for number, hidden in found.open_transactions.items()
        },
        "unreadable_batches": [
            {
                "topic": place.topic,
                "partition": place.partition,
                "offset": place.records.first_offset,
                "last_offset": place.records.offset,
                "reason": place.records.reason,
            }
            for place in found.unreadable
        ],
        "missing_actions": [_missing(each, topic) for each in found.missing[:listed]],
        "doubled_actions": [_place(each, topic) for each in found.doubled[:listed]],
        "seconds": round(found.seconds, 3),
    }


def _missing(owed: Owed, topic: str) -> dict[str, Any]:
    return {
        **_place(owed.id, topic),
        "action_id": owed.action_id,
        "time": time_of(owed.timestamp),
    }


def _place(place: RecordId, topic: str) -> dict[str, Any]:
    return {"topic": topic, "partition": place.partition, "offset": place.offset}


def time_of(milliseconds: int) -> str:
    """A record's timestamp as RFC 3339, in UTC."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_lines(found: AuditResult, topic: str, listed: int) -> list[str]:
    """Return an audit as lines; the last one sums them up."""
    counts = found.counts
    lines = [
        f"{counts.records:>12,}  action records read",
        f"{counts.asked:>12,}  ask for a confirmation email",
        f"{counts.emails:>12,}  emails found for them",
    ]
    rest = [
        (counts.ignored, "ignored: they ask for none, or are empty"),
        (counts.unreadable, "cannot be read"),
        (counts.dead_lettered, "became dead letters"),
        (counts.duplicates, "passed over: the same action had its email shortly before"),
        (found.in_flight, "in flight: not settled yet"),
        (found.held_back, "undecided: where their email would be cannot be read now"),
        (len(found.unreadable), "batches that cannot be read: nobody knows what is in them"),
        (found.expired, "undecided: of so long ago that the emails of that time are no longer kept"),
        (counts.resent, "emails seen that `streams resend` wrote"),
        (found.unasked, "emails that nobody asked for"),
        (found.unattributed, "emails for which no action was found in or near the range"),
        (counts.earlier_log, "emails for records of an earlier log: it was cut, or its topic was made again"),
        (counts.foreign, "emails seen that come from elsewhere"),
    ]
    lines += [f"{count:>12,}  {what}" for count, what in rest if count]
    lines += _remarks(found)
    lines += [f"unreadable: {place}" for place in found.unreadable[:listed]]
    for owed in found.missing[:listed]:
        action = "unreadable" if owed.action_id is None else f"actionId {owed.action_id}"
        place = f"{topic}/{owed.id.partition}/{owed.id.offset}"
        lines.append(f"missing: {place}  {action}  {time_of(owed.timestamp)}")
    lines += [f"doubled: {topic}/{each.partition}/{each.offset}" for each in found.doubled[:listed]]
    for what, all_of_them in (
        ("unreadable", found.unreadable),
        ("missing", found.missing),
        ("doubled", found.doubled),
    ):
        if len(all_of_them) > listed:
            lines.append(f"and {len(all_of_them) - listed:,} more {what}")
    lines.append(
        f"{counts.asked} actions, {counts.emails} emails, {len(found.missing)} missing, "
        f"{len(found.doubled)} doubled"
    )
    return lines


def _remarks(found: AuditResult) -> list[str]:
    delays = found.counts.delays
    lines = []
    if seconds := delays.seconds():
        lines.append(
            "from action to email: " + ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
        )
    if delays.negative:
        lines.append(f"{delays.negative:,} emails are stamped before their action: two clocks differ")
    if found.never_committed:
        lines.append("the consumer group has committed nothing: no worker has run, and nothing is settled")
    if found.compacted:
        lines.append("the emails topic is compacted: it forgets emails, so nothing can be proven from it")
    lines += [
        f"an open transaction hides the last {hidden:,} offsets of emails partition {number}"
        for number, hidden in found.open_transactions.items()
    ]
    return lines
