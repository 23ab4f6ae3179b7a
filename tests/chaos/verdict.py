"""What became of every record, from the topics alone. Pure; knows the load, and nothing of the app.

Memory is some thirty bytes a record: arrays by serial, and by partition and offset.
"""

import hashlib
import uuid
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate
from typing import NamedTuple

import orjson

from tests.chaos.load import KNOWN, plan, serial_in, subscribed

#: As documented for mailers: an email's id is a UUIDv5 of topic/partition/offset in this namespace.
_NAMESPACE = uuid.UUID("3f0c6a52-6c8b-5d7e-9a54-0d6f2a3f7b11").bytes
_SHOWN = 5


class Produced(IntEnum):
    """What the feeding producer knows of a record."""

    NOT_SENT = 0
    OK = 1  # must be in the topic once
    FAILED = 2  # must not be there
    UNKNOWN = 3  # may be there, once


class Sample(NamedTuple):
    """What was seen at one moment: the committed offset first, then how far the log of emails went."""

    partition: int
    committed: int
    high_watermark: int  # of the same partition of emails


@dataclass
class Verdict:
    """What is wrong, each with its number and a few examples; empty when nothing is."""

    actions: int = 0  # that ask for an email
    emails: int = 0
    dead_letters: int = 0
    missing: int = 0
    doubled: int = 0
    not_known: int = 0  # emails of known supporters, while the store was away
    wrong: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.missing or self.doubled or self.wrong)

    def add(self, what: str, example: str) -> None:
        """Count one thing that is wrong."""
        self.wrong[what] += 1
        self.show(what, example)

    def show(self, what: str, example: str) -> None:
        """Keep an example, if there are not enough yet."""
        examples = self.examples.setdefault(what, [])
        if len(examples) < _SHOWN:
            examples.append(example)


class Ledgers:
    """Three accounts of the same records: what the producer knows, the actions' log, the emails' log."""

    def __init__(self, actions_topic: str, serials: int, partitions: int) -> None:
        """Prepare for serials below `serials`."""
        self.produced = bytearray(serials)
        self.in_actions = bytearray(serials)
        self.in_emails = bytearray(serials)
        self.in_dead_letters = bytearray(serials)
        self.samples: list[Sample] = []
        #: Whether a store was away for a time: its rows count as missing then, which is no fault.
        self.store_was_away = False
        self._topic = actions_topic
        self._place = array("q", bytes(8 * serials))  # offset * partitions + partition, of the last record
        self._partitions = partitions
        self._email_at: list[array[int]] = [array("q") for _ in range(partitions)]  # by the action's offset
        self._emitted = array("q", [-1]) * KNOWN  # by supporter: the action offset of the last email
        self._verdict = Verdict()

    def action(self, partition: int, offset: int, value: bytes) -> None:
        """Note a record of the actions topic; all of them before the first email."""
        serial = serial_in(value)
        self.in_actions[serial] += 1
        self._place[serial] = offset * self._partitions + partition
        at = self._email_at[partition]
        at.extend([-1] * (offset + 1 - len(at)))

    def email(self, partition: int, offset: int, value: bytes) -> None:
        """Note a record of the emails topic, in the order of the log."""
        verdict = self._verdict
        verdict.emails += 1
        email = orjson.loads(value)
        serial = email["action"]["action"]["customFields"]["serial"]
        kind, supporter, action_id = plan(serial)
        source_offset, source_partition = divmod(self._place[serial], self._partitions)
        place = f"{self._topic}/{source_partition}/{source_offset}"
        self.in_emails[serial] += 1
        again = self.in_emails[serial] > self.in_actions[serial]
        if kind != "email":
            verdict.add("unasked", f"serial {serial}")
        if not self.in_actions[serial]:
            verdict.add("out of nothing", f"serial {serial}")
            return
        if (email["actionId"], email["action"]["actionId"]) != (action_id, action_id):
            verdict.add("wrong actionId", place)
        if self.in_actions[serial] == 1 and email["id"] != _id_of(place):
            verdict.add("wrong id", place)
        if partition != source_partition:
            verdict.add("wrong partition", place)
        one_button = email["variant"] == "one_button"
        fed = supporter < KNOWN  # their statuses are; a stranger's may be known from an earlier answer
        known = fed and email["reason"].startswith("known_")
        if one_button != subscribed(supporter) and (one_button or known):
            verdict.add("wrong letter", f"{place} {email['variant']} {email['reason']}")
        if fed and not known:
            if self.store_was_away:
                verdict.not_known += 1
            else:
                verdict.add("status not known", f"{place} {email['reason']}")
        if known and not again:
            if source_offset < self._emitted[supporter]:
                verdict.add("out of order", place)
            self._emitted[supporter] = source_offset
        if not again:
            self._email_at[source_partition][source_offset] = offset

    def dead_letter(self, value: bytes) -> None:
        """Note a record of the dead letter topic."""
        self._verdict.dead_letters += 1
        self.in_dead_letters[serial_in(value)] += 1

    def verdict(self) -> Verdict:
        """Compare the accounts. Call once."""
        verdict = self._verdict
        for serial, (produced, written, emails, dead) in enumerate(
            zip(self.produced, self.in_actions, self.in_emails, self.in_dead_letters, strict=True)
        ):
            self._compare_with_producer(serial, produced, written)
            if not (written or emails or dead):
                continue
            kind = plan(serial).kind
            owed = written if kind == "email" else 0
            owed_dead = written if kind == "dead_letter" else 0
            verdict.actions += owed
            if emails == owed and dead == owed_dead:
                continue
            offset, partition = divmod(self._place[serial], self._partitions)
            place = f"{partition}/{offset}"
            if emails < owed:
                verdict.missing += owed - emails
                verdict.show("missing", place)
            elif emails > owed > 0:
                verdict.doubled += emails - owed
                verdict.show("doubled", place)
            if dead < owed_dead:
                verdict.add("dead letter missing", place)
            elif dead > owed_dead:
                verdict.add("dead letter doubled" if owed_dead else "dead letter unasked", place)
        self._check_samples()
        return verdict

    def _compare_with_producer(self, serial: int, produced: int, written: int) -> None:
        # Not the app's doing, whatever it is; but then this run proves nothing.
        if produced == Produced.OK and written == 0:
            self._verdict.add("feed: acknowledged and not there", f"serial {serial}")
        elif produced in (Produced.FAILED, Produced.NOT_SENT) and written:
            self._verdict.add("feed: failed and there", f"serial {serial}")
        elif written > 1:
            self._verdict.add("feed: there twice", f"serial {serial}")

    def _check_samples(self) -> None:
        """No commit ever passed an action whose email was not in the log by then."""
        reached = [list(accumulate(at, max)) for at in self._email_at]
        for partition, committed, high_watermark in self.samples:
            before = reached[partition][:committed]
            if before and before[-1] >= high_watermark:
                self._verdict.add("commit before its email", f"{partition}/{committed}")


def _id_of(place: str) -> str:
    digest = hashlib.sha1(_NAMESPACE + place.encode(), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def lines(verdict: Verdict) -> Iterable[str]:
    """Say what is wrong, in a line each."""
    for what, number in sorted(verdict.wrong.items()):
        yield f"WRONG {what}: {number}, such as {', '.join(verdict.examples[what])}"
    for what in ("missing", "doubled"):
        if what in verdict.examples:
            yield f"WRONG {what}: {getattr(verdict, what)}, such as {', '.join(verdict.examples[what])}"
