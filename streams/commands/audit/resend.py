"""Writes the emails that an audit found missing (``streams resend``), exactly once itself.

Each partition of actions has a transactional producer, whose ``transactional.id`` is group, ``resend``, topic
and partition: whoever opens it fences whoever had it. Only when all of them are open, the audit is made a
second time, to the ends that the topics have then; what is missing in both is written. So of two people who
resend at once, one writes, and the other is fenced or finds nothing missing.

It is always the two-button letter, with reason ``no_lookup``: nobody is asked, and consent is never guessed
upward. It has the id that the email should have had, and a header ``resent: 1``.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from streams.commands.audit.auditing import audit
from streams.commands.audit.matching import RESENT, Owed
from streams.commands.audit.outcome import AuditRange, AuditResult
from streams.commands.installation import Described, Installation, describe
from streams.commands.progress_bar import OnProgress
from streams.commands.topic_reader import read_records
from streams.commands.transactions import Transactions, opened
from streams.delivery.epochs import Epochs
from streams.delivery.transaction import Outgoing
from streams.messages.decode import Reason, Undecodable, Variant, decode_action, status_key
from streams.messages.email import EmailWriter
from streams.messages.keys import partition_of

#: Emails of one transaction.
_MOST = 2_000


@dataclass(slots=True)
class Resent:
    """What became of the missing emails."""

    written: list[Owed] = field(default_factory=list)
    impossible: list[Owed] = field(default_factory=list)  # unreadable, gone meanwhile, or too large
    found_meanwhile: int = 0  # missing in the first audit, and not in the second


async def resend(
    installation: Installation,
    wanted: AuditRange,
    first: AuditResult,
    progress: OnProgress = lambda _read, _all: None,
) -> Resent:
    """Write the emails that `first`, an audit of the same range, found missing and that still are.

    Raises:
        NotWritten: a transaction failed, or somebody else resends at the same time. What earlier transactions
            wrote stays written.
        KafkaError: the cluster cannot be asked.
    """
    described = await describe(installation)
    prefix = f"{installation.group}-resend-{installation.names.actions}"
    partitions = [owed.id.partition for owed in first.missing]
    async with opened(installation, described, prefix, partitions) as writers:
        before = {owed.id for owed in first.missing}
        second = await audit(installation, wanted, progress) if writers else first
        still = [owed for owed in second.missing if owed.id in before]
        resent = Resent(found_meanwhile=len(before) - len(still))
        for number, writer in writers.items():
            missing = [owed for owed in still if owed.id.partition == number]
            for at in range(0, len(missing), _MOST):
                await _write(
                    installation, described, writer, missing[at : at + _MOST], second.epochs[number], resent
                )
    return resent


async def _write(
    installation: Installation,
    described: Described,
    writer: Transactions,
    missing: list[Owed],
    epochs: Epochs,
    resent: Resent,
) -> None:
    actions = installation.names.actions
    originals = await read_records(actions, installation.connection, [owed.id for owed in missing])
    emails: list[Outgoing] = []
    written = []
    for owed in missing:
        record = originals.get(owed.id)
        email = None if record is None else _email(installation, described, record, epochs)
        if email is None or not writer.fits(email):
            resent.impossible.append(owed)
        else:
            emails.append(email)
            written.append(owed)
    if emails:
        await writer.write(emails)
        resent.written += written


def _email(installation: Installation, described: Described, record: Any, epochs: Epochs) -> Outgoing | None:
    """The two-button letter of an action record; None where no email can be made from it."""
    names = installation.names
    try:
        action = decode_action(record.value or b"", installation.repeats_at)
    except Undecodable:
        return None
    if action is None:
        return None
    key = status_key(action.org_id, action.contact_ref)
    value, headers = EmailWriter(names.actions, record.partition, epochs.epoch_of(record.offset)).write(
        record.offset,
        action,
        record.value,
        record.headers,
        Variant.TWO_BUTTON,
        Reason.NO_LOOKUP,
        None,
        time.time(),
    )
    partition = partition_of(key, described.partitions[names.emails])
    return Outgoing(names.emails, key, value, [*headers, (RESENT, b"1")], partition)
