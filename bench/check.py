"""Reads what a contender wrote, as a mailer would, and says what is wrong with it."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import orjson
from confluent_kafka import Consumer, KafkaError, TopicPartition

from bench.own_actions import OwnActions
from bench.workload import TWO_BUTTON, Workload

_SILENCE = 30.0  # seconds without a record until the reader gives up
_LOOK_INSIDE_EVERY = 97  # the whole action is compared in these only: it takes as long as all the rest
#: Of the actions by people without a status, so many may have got two buttons since their lookup had no
#: answer in time. That is right by the decision table, but no lookup: they are no part of the rate.
_UNANSWERED = 0.5


class _Lookup(msgspec.Struct):
    cause: str | None = None


class _Email(msgspec.Struct):
    variant: str
    actionId: int
    reason: str = ""  # this and the next are in ours only
    lookup: _Lookup | None = None


_read = msgspec.json.Decoder(_Email).decode


@dataclass(slots=True)
class Checked:
    """What the reader found."""

    #: Seconds since the epoch, in order, of each email but those whose lookup should have been answered.
    stamps: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unanswered: int = 0  # lookups


def check(
    bootstrap_servers: str,
    topic: str,
    partitions: int,
    workload: Workload | OwnActions,
    letters: Literal["decided", "any"] = "decided",
) -> Checked:
    """Read all that is committed: every action once, the right letter, its own key, the action kept.

    Letters are `any` of a contender that decides nothing.
    """
    wanted = workload.times()
    seen = [0] * len(wanted)
    wrong = {"doubled": 0, "of unknown actions": 0, "with a wrong variant": 0, "altered": 0, "unreadable": 0}
    causes: Counter[str | None] = Counter()
    found = Checked()
    for value, key, stamp in _committed(bootstrap_servers, topic, partitions):
        try:
            email = _read(value)
        except msgspec.MsgspecError:
            wrong["unreadable"] += 1
            continue
        number = workload.number(email.actionId, key)
        if number is None:
            wrong["of unknown actions"] += 1
            continue
        seen[number] += 1
        wrong["doubled"] += seen[number] > wanted[number]
        right = letters == "any" or email.variant == workload.variant(number)
        failed = email.variant == TWO_BUTTON and email.reason == "lookup_failed"
        if not right and failed and workload.is_missing(number):
            found.unanswered += 1
            causes[email.lookup.cause if email.lookup else None] += 1
        else:
            wrong["with a wrong variant"] += not right
            found.stamps.append(stamp)
        if number % _LOOK_INSIDE_EVERY == 0:
            kept = _kept(value)
            same = any(kept == orjson.loads(original) for original in workload.originals(number))
            wrong["altered"] += key != workload.key(number) or not same
    missing = sum(max(0, due - count) for due, count in zip(wanted, seen, strict=True))
    found.problems = [f"{count} emails {what}" for what, count in wrong.items() if count]
    if missing:
        found.problems.insert(0, f"{missing} emails missing")
    if found.unanswered > _UNANSWERED * workload.actions / max(1, workload.missing_every):
        told = ", ".join(f"{count} {cause}" for cause, count in causes.most_common())
        found.problems.append(f"{told}: lookups without an answer, though the service gives one")
    found.stamps.sort()
    return found


def _kept(value: bytes) -> object:
    """The action in an email: a part of its own in ours, everything but the variant in a peer's."""
    email = orjson.loads(value)
    if "action" in email and "actionId" in email["action"]:
        return email["action"]
    email.pop("variant")
    return email


def _committed(bootstrap_servers: str, topic: str, partitions: int) -> Iterator[tuple[bytes, bytes, float]]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "bench-check",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "check.crcs": False,
            "queued.max.messages.kbytes": 65_536,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        open_ones = set(range(partitions))
        heard = time.monotonic()
        while open_ones:
            records = consumer.consume(5_000, timeout=0.2)
            if records:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENCE:
                raise RuntimeError(f"{topic} said nothing for {_SILENCE:g} s before its end")
            for record in records:
                error = record.error()
                if error is None:
                    yield record.value(), record.key(), record.timestamp()[1] / 1000
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_ones.discard(record.partition())
                else:
                    raise RuntimeError(f"{topic} cannot be read: {error}")
    finally:
        consumer.close()
