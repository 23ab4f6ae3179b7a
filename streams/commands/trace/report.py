"""A trace as text for people and as JSON for programs. No address, name or contactRef is in either."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streams.commands.audit.report import time_of
from streams.commands.command_line import counted
from streams.commands.topic_reader import RecordId
from streams.commands.trace.email import FoundEmail
from streams.commands.trace.outcome import State, Traced, TraceResult
from streams.commands.trace.searching import where
from streams.kafka.topics import TopicNames

_SENTENCES = {
    State.DOUBLED: "DOUBLED: it has more than one email, or an email and a dead letter",
    State.UNREADABLE: "no email: it lies in a batch that nobody can read ({unreadable}), and no dead letter"
    " says so yet; `streams doctor` says what to do",
    State.HELD_BACK: "nobody knows: it is settled, and an open transaction, or a batch that cannot be read,"
    " hides where its email would be",
    State.EXPIRED: "nobody knows: it is settled, and emails or dead letters of that time are no longer kept",
    State.GONE: "the action is no longer kept, and neither an email nor a dead letter of it",
    State.MISSING: "MISSING: it is settled, and there is neither an email nor a dead letter; `streams resend`"
    " writes its email. (An action from before the group's first start was never read where that was with"
    " ACTIONS_START=latest.)",
}


def as_json(found: TraceResult, names: TopicNames) -> dict[str, Any]:
    """Return a trace as a JSON object (``schemas/commands/trace.json``)."""
    return {
        "actions": [_document(each, names) for each in found.actions],
        "records_read": found.records_read,
        "seconds": round(found.seconds, 3),
    }


def _document(traced: Traced, names: TopicNames) -> dict[str, Any]:
    content, rekeyed = traced.content, traced.rekeyed
    return {
        "state": str(traced.state),
        **_place(names.actions, traced.id),
        "epoch": traced.epoch,
        "time": None if traced.timestamp is None else time_of(traced.timestamp),
        "action_id": content and content.action_id,
        "org_id": content and content.org_id,
        "trace_id": traced.trace_id,
        "ignored": content and content.ignored,
        "error_class": content and content.error_class,
        "json_path": content and content.json_path,
        "unreadable": traced.unreadable,
        "passed_over_for": traced.passed_over_for,
        "settled": traced.is_done,
        "committed_offset": traced.committed,
        "rekeyed": rekeyed and {**_place(names.rekeyed, rekeyed.place), "settled": rekeyed.is_settled},
        "email_id": traced.email_id,
        "emails": [_email(each, names) for each in traced.emails],
        "dead_letters": [
            {
                **_place(names.dead_letters, each.id),
                "time": time_of(each.timestamp),
                "error_class": each.error_class,
                "json_path": each.json_path,
            }
            for each in traced.dead_letters
        ],
        "retry_of": traced.retry_of and _place(names.dead_letters, traced.retry_of),
        "retried_as": [_place(names.actions, each) for each in traced.retried_as],
    }


def _email(email: FoundEmail, names: TopicNames) -> dict[str, Any]:
    lookup = None
    if email.lookup_outcome is not None:
        lookup = {"outcome": email.lookup_outcome, "cause": email.lookup_cause}
    return {
        **_place(names.emails, email.place),
        "time": time_of(email.timestamp),
        "variant": email.variant,
        "reason": email.reason,
        "decided_at": email.decided_at,
        "lookup": lookup,
        "resent": email.is_resent,
    }


def _place(topic: str, place: RecordId) -> dict[str, Any]:
    return {"topic": topic, "partition": place.partition, "offset": place.offset}


def as_lines(found: TraceResult, names: TopicNames) -> list[str]:
    """Return a trace as lines: of each action its place, and then what became of it."""
    lines = [line for traced in found.actions for line in _lines(traced, names)]
    return [*lines, f"{counted(len(found.actions), 'action')} found"]


def _lines(traced: Traced, names: TopicNames) -> Iterator[str]:
    content = traced.content
    head = [where(names.actions, traced.id)]
    if traced.epoch:
        head.append(f"epoch {traced.epoch}")
    if content is not None:
        head += [f"actionId {content.action_id}"] if content.action_id is not None else []
        head += [f"organisation {content.org_id}"] if content.org_id is not None else []
    if traced.timestamp is not None:
        head.append(time_of(traced.timestamp))
    yield "  ".join(head)
    if traced.retry_of is not None:
        yield f"    the retry of the dead letter {where(names.dead_letters, traced.retry_of)}"
    if traced.rekeyed is not None:
        yield (
            f"    re-keyed: moved to {where(names.rekeyed, traced.rekeyed.place)}, the partition of its"
            " supporter's status"
        )
    for email in traced.emails:
        yield from _lines_of(email, traced, names)
    for letter in traced.dead_letters:
        yield (
            f"    dead letter {where(names.dead_letters, letter.id)}: {letter.error_class} at"
            f" {letter.json_path}, {time_of(letter.timestamp)}"
        )
    for retry in traced.retried_as:
        yield f"    retried: it is the action {where(names.actions, retry)}, too"
    match traced.state:
        case State.IGNORED:
            assert content is not None
            yield f"    no email: it asks for none ({content.ignored})"
        case State.PASSED_OVER:
            yield f"    no email: the same action had the email {traced.passed_over_for} shortly before"
        case State.IN_FLIGHT:
            yield f"    no email yet: {_awaited(traced, names)}"
        case state if state in _SENTENCES:
            yield f"    {_SENTENCES[state].format(unreadable=traced.unreadable)}"


def _lines_of(email: FoundEmail, traced: Traced, names: TopicNames) -> Iterator[str]:
    lookup = "no lookup was asked"
    if email.lookup_outcome is not None:
        cause = f", {email.lookup_cause}" if email.lookup_cause else ""
        lookup = f"lookup: {email.lookup_outcome}{cause}"
    yield f"    decided {email.decided_at}: {email.variant}, {email.reason} ({lookup})"
    resent = ", by `streams resend`" if email.is_resent else ""
    after = ""
    if traced.timestamp is not None and email.timestamp >= traced.timestamp:
        after = f", {(email.timestamp - traced.timestamp) / 1000:,.3f} s after the action"
    yield f"    email {where(names.emails, email.place)}  id {traced.email_id}{after}{resent}"


def _awaited(traced: Traced, names: TopicNames) -> str:
    if traced.rekeyed is not None and traced.is_settled:
        return "it waits in the internal topic"
    here = f"{names.actions}/{traced.id.partition}"
    if traced.committed is None:
        return f"the group has committed nothing for {here}: no worker has read it"
    before = max(0, traced.id.offset - traced.committed)
    return (
        f"the group is at offset {traced.committed:,} of {here}, {before:,} before it; if that does not"
        " change, `streams doctor` says why"
    )
