"""Writing what is missing, once."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import orjson
import pytest

from streams.commands.audit.auditing import audit
from streams.commands.audit.outcome import AuditRange
from streams.commands.audit.resend import resend
from streams.commands.installation import describe
from streams.commands.transactions import NotWritten, Transactions
from streams.delivery.epochs import Epochs
from streams.delivery.transaction import Outgoing
from streams.messages.email import EmailWriter
from tests.commands.conftest import Make, streams
from tests.commands.topics import Topics
from tests.integration.topics import action, keyed, read_count

pytestmark = pytest.mark.kafka


async def with_missing(make: Make, **configs: Any) -> tuple[Topics, list[tuple[int, int]]]:
    """Ten actions, of which 2, 3 and 7 have no email."""
    live = await make(**configs)
    places = await live.act([action(number) for number in range(10)])
    await live.mail([(number, places[number]) for number in range(10) if number not in (2, 3, 7)])
    await live.settle_all()
    return live, places


async def test_missing_emails_are_written_once(topics: Make) -> None:
    """--yes writes each missing email, two buttons, with its own id; the second run writes nothing."""
    live, places = await with_missing(topics)
    dry = await streams(live, "resend")
    assert dry.exit_code == 1
    assert "dry run" in dry.stdout
    first = await streams(live, "resend", "--yes")
    assert first.exit_code == 0, first.stderr
    assert "3 emails written" in first.stdout
    second = await streams(live, "resend", "--yes")
    assert second.exit_code == 0
    assert "nothing to resend" in second.stdout
    records = await read_count(live.servers, live.names.emails, 10)
    assert len(records) == 10
    emails = {orjson.loads(record.value)["actionId"]: record for record in records}
    assert sorted(emails) == list(range(10))
    resent = {number for number, record in emails.items() if ("resent", b"1") in record.headers}
    assert resent == {2, 3, 7}
    for number in resent:
        email = orjson.loads(emails[number].value)
        assert (email["variant"], email["reason"], email["lookup"]) == ("two_button", "no_lookup", None)
        assert email["action"] == action(number)
        partition, offset = places[number]
        email_id = EmailWriter(live.names.actions, partition).id_of(offset)
        assert (email["id"], dict(emails[number].headers)["ce_id"]) == (email_id, email_id.encode())
        assert emails[number].key == keyed(action(number))[0]
        assert emails[number].partition == partition
    assert not any(f"s{number}@" in each.stdout for each in (dry, first, second) for number in range(10))


async def test_after_a_new_beginning_missing_emails_get_the_ids_of_their_epoch(topics: Make) -> None:
    """Emails of the log before do not count for the same offsets; the second run finds nothing missing."""
    live = await topics()
    places = await live.act([action(number) for number in range(10)])
    await live.mail(enumerate(places))
    marks = Epochs(starts=((0, 1),)).runs()
    ends = Counter(partition for partition, _ in places)
    await live.settle({partition: (end, marks) for partition, end in ends.items()})
    done = await streams(live, "resend", "--yes")
    assert done.exit_code == 0, done.stderr
    assert "10  emails for records of an earlier log" in done.stdout
    assert "10 emails written" in done.stdout
    records = await read_count(live.servers, live.names.emails, 20)
    ids = {orjson.loads(each.value)["id"] for each in records if ("resent", b"1") in each.headers}
    assert ids == {EmailWriter(live.names.actions, number, 1).id_of(offset) for number, offset in places}
    audited = await streams(live, "audit")
    assert "10 actions, 10 emails, 0 missing, 0 doubled" in audited.stdout


async def test_on_a_terminal_it_asks_first(topics: Make) -> None:
    """Only a yes writes; a plain Enter is a no, with exit code 1."""
    live, _ = await with_missing(topics)
    for answer, written in ((b"\n", 0), (b"y\n", 3)):
        terminal, theirs = os.openpty()
        try:
            os.write(terminal, answer)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "streams", "resend"),
                env={"PATH": os.environ["PATH"], **live.environ},
                stdin=theirs,
                stdout=subprocess.PIPE,
            )
            out, _ = await asyncio.wait_for(process.communicate(), 60)
        finally:
            os.close(terminal)
            os.close(theirs)
        assert b"Write 3 two-button emails" in out
        assert (b"emails written" in out) == bool(written)
        assert process.returncode == (0 if written else 1)
    assert (await audit(live.installation, AuditRange())).holds


async def test_two_at_once_write_each_email_once(topics: Make) -> None:
    """Of two resends with the same audit one writes; the other is fenced or finds nothing missing."""
    live, _ = await with_missing(topics)
    found = await audit(live.installation, AuditRange())
    outcomes = await asyncio.gather(
        *(resend(live.installation, AuditRange(), found) for _ in range(2)), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, NotWritten), outcome
    again = await audit(live.installation, AuditRange())
    if again.missing:  # each fenced the other in one partition: run once more, as the sentence says
        await resend(live.installation, AuditRange(), again)
        again = await audit(live.installation, AuditRange())
    assert (again.missing, again.doubled, again.counts.emails) == ([], [], 10)


async def test_what_was_found_meanwhile_is_not_written(topics: Make) -> None:
    """An email that came between the audit and the writing is seen after the epoch is taken."""
    live, places = await with_missing(topics)
    found = await audit(live.installation, AuditRange())
    await live.mail([(2, places[2]), (3, places[3])])
    resent = await resend(live.installation, AuditRange(), found)
    assert ([owed.action_id for owed in resent.written], resent.found_meanwhile) == ([7], 2)
    assert (await audit(live.installation, AuditRange())).holds


async def test_a_fenced_writer_writes_nothing(topics: Make) -> None:
    """Whoever opens the same transactional.id later wins; the earlier one says so in one sentence."""
    live, _ = await with_missing(topics)
    described = await describe(live.installation)
    earlier, later = (
        Transactions(live.installation, described, f"{live.installation.group}-x") for _ in "ab"
    )
    try:
        await earlier.open()
        await later.open()
        key, value, headers = live.email(2, (0, 0))
        with pytest.raises(NotWritten):
            await earlier.write([Outgoing(live.names.emails, key, value, headers, 0)])
    finally:
        await earlier.close()
        await later.close()
    assert (await audit(live.installation, AuditRange())).counts.emails == 7


async def test_an_email_that_is_too_large_is_named_and_the_others_are_written(topics: Make) -> None:
    """Its topic's max.message.bytes is respected; exit code 1, since that email is still missing."""
    live = await topics(emails={"max.message.bytes": "4000"})
    await live.act([action(1), action(2, comment="x" * 5_000), action(3)])
    await live.settle_all()
    found = await streams(live, "resend", "--yes")
    assert found.exit_code == 1
    assert "2 emails written" in found.stdout
    assert "would be too large" in found.stderr


async def test_an_unreadable_action_is_not_made_into_an_email(topics: Make) -> None:
    """An action that nobody can read, and that has no dead letter, is named."""
    live = await topics()
    await live.act([b"{"])
    await live.settle_all()
    found = await streams(live, "resend", "--yes")
    assert found.exit_code == 1
    assert "0 emails written" in found.stdout
    assert "cannot be read" in found.stderr
