"""The audit of live topics."""

import asyncio
import time

import pytest

from streams.actions.rekeying import REKEYED_FROM
from streams.commands.audit.auditing import audit
from streams.commands.audit.moments import Moment
from streams.commands.audit.outcome import AuditRange
from streams.commands.audit.report import as_json, as_lines
from streams.commands.installation import PartitionMissing
from streams.commands.topic_reader import RecordId
from streams.kafka.topics import marks_topic
from streams.messages.decode import ErrorClass
from streams.messages.email import EmailWriter
from tests.clients import make_topics
from tests.commands.conftest import Make
from tests.commands.topics import Topics, transactional
from tests.integration.steps import Make as MakeInstallation
from tests.integration.steps import ready
from tests.integration.topics import action, keyed, producing

pytestmark = pytest.mark.kafka

EVERYTHING = AuditRange()


async def test_every_fate_is_told_apart(topics: Make) -> None:
    """Confirmed, missing, doubled, dead letter, ignored, unreadable: each is counted for what it is."""
    live = await topics()
    documents = [action(number) for number in range(20)]
    places = await live.act([*documents, action(50, stage="deliver"), b"{", None, b"[]"])
    await live.mail([(n, places[n]) for n in range(20) if n not in (3, 4, 5)])
    await live.mail([(7, places[7])])
    await live.bury(places[5], b"x", ErrorClass.TOO_LARGE)
    await live.bury(places[21], b"{", ErrorClass.NOT_JSON)
    await live.settle_all()
    found = await audit(live.installation, EVERYTHING)
    counts = found.counts
    assert [(owed.id, owed.action_id) for owed in found.missing] == sorted(
        [(RecordId(*places[3]), 3), (RecordId(*places[4]), 4), (RecordId(*places[23]), None)]
    )
    assert found.doubled == [RecordId(*places[7])]
    assert (counts.records, counts.asked, counts.unreadable, counts.ignored) == (24, 20, 2, 2)
    assert (counts.emails, counts.dead_lettered) == (18, 2)
    assert (found.in_flight, found.expired, found.unasked, found.unattributed) == (0, 0, 0, 0)
    assert counts.delays.seconds() is not None


async def test_what_is_not_settled_is_in_flight(topics: Make) -> None:
    """At or beyond the committed offset and in no run of its metadata: in flight; in a run: missing."""
    live = await topics(partitions=1)
    places = await live.act([action(number) for number in range(10)])
    await live.mail([(0, places[0]), (5, places[5])])
    await live.settle({0: (2, [(5, 6)])})
    found = await audit(live.installation, EVERYTHING)
    assert [owed.id.offset for owed in found.missing] == [1, 6]
    assert found.in_flight == 6
    assert not found.never_committed


async def test_a_group_that_never_ran_settles_nothing(topics: Make) -> None:
    """Without a committed offset nothing is missing yet, and the audit says why."""
    live = await topics()
    await live.act([action(1)])
    found = await audit(live.installation, EVERYTHING)
    assert (found.missing, found.in_flight, found.never_committed) == ([], 1, True)


async def test_an_action_that_was_passed_over_is_accounted_for(topics: Make) -> None:
    """Where the worker's own record says so, whatever the window is today; a mark alone excuses nothing."""
    live = await topics()
    places = await live.act([action(1)] * 4)
    await live.mail([(1, places[0])])
    marks = marks_topic(live.installation.group)
    await make_topics(live.servers, 2, marks, cleanup_policy="compact,delete")
    async with producing(live.servers) as producer:
        for key, (partition, offset) in ((b"passed-over/", places[1]), (b"letter/", places[2])):
            own = EmailWriter(live.names.actions, partition).id_of(offset).encode()
            await producer.send_and_wait(marks, b"letter", key=key + own, partition=partition)
    await live.settle_all()
    found = await audit(live.installation, EVERYTHING)
    assert [owed.id for owed in found.missing] == [RecordId(*places[2]), RecordId(*places[3])]
    assert (found.counts.asked, found.counts.emails, found.counts.duplicates) == (4, 1, 1)
    assert as_json(found, "actions", 9)["duplicates"] == 1
    assert any("1  passed over" in line for line in as_lines(found, "actions", 9))


async def test_an_action_that_is_being_moved_is_in_flight(topics: Make) -> None:
    """Settled in its own partition, still unsettled in the topic of re-keyed actions: not missing."""
    live = await topics()
    (place, other) = await live.act([action(1), action(2)])
    async with producing(live.servers) as producer:
        for number, each in ((1, place), (2, other)):
            key, value = keyed(action(number))
            header = (REKEYED_FROM, b"%d/%d" % each)
            await producer.send_and_wait(live.names.rekeyed, value, key=key, partition=1, headers=[header])
    await live.settle_all()
    await live.settle({0: (0, []), 1: (1, [])}, live.names.rekeyed)
    found = await audit(live.installation, EVERYTHING)
    assert [owed.id for owed in found.missing] == [RecordId(*place)]
    assert found.in_flight == 1


async def test_a_range_of_time_counts_only_its_actions(topics: Make) -> None:
    """Actions before and after it do not count, and neither do their emails; late emails are found."""
    live = await topics()
    early = await live.act([action(number) for number in range(10)])
    await asyncio.sleep(0.05)
    begin = int(time.time() * 1000)
    inside = await live.act([action(number) for number in range(10, 20)])
    await asyncio.sleep(0.05)
    end = int(time.time() * 1000)
    await asyncio.sleep(0.05)
    late = await live.act([action(number) for number in range(20, 30)])
    places = [*early, *inside, *late]
    await live.mail([(number, places[number]) for number in (0, 25, *range(11, 20))])
    await live.settle_all()
    found = await audit(live.installation, AuditRange(Moment(begin), Moment(end)))
    assert [owed.action_id for owed in found.missing] == [10]
    assert (found.counts.records, found.counts.asked, found.counts.emails) == (10, 10, 9)
    assert (found.unasked, found.unattributed, found.doubled) == (0, 0, [])


async def test_a_range_of_offsets_in_one_partition(topics: Make) -> None:
    """From an offset to another, of the named partition alone."""
    live = await topics(partitions=1)
    places = await live.act([action(number) for number in range(10)])
    await live.mail([(number, places[number]) for number in (0, 5, 9)])
    await live.settle_all()
    found = await audit(live.installation, AuditRange(Moment(offset=4), Moment(offset=7), frozenset({0})))
    assert [owed.id.offset for owed in found.missing] == [4, 6]
    assert found.counts.records == 3
    with pytest.raises(PartitionMissing, match=r"actions has no partition 1: it has 0 to 0$"):
        await audit(live.installation, AuditRange(partitions=frozenset({0, 1})))


async def test_emails_that_retention_removed_are_not_called_missing(topics: Make) -> None:
    """Older than the earliest email that is kept: undecided. Younger: missing all the same."""
    live = await topics(partitions=1)
    places = await live.act([action(number) for number in range(6)])
    await asyncio.sleep(0.05)
    await live.mail([(number, places[number]) for number in range(6)])
    (young,) = await live.act([action(7)])
    await live.settle_all()
    await live.forget(live.names.emails, {0: 4})
    found = await audit(live.installation, EVERYTHING)
    assert found.expired == 4
    assert [owed.id for owed in found.missing] == [RecordId(*young)]
    await live.forget(live.names.emails, {0: 6})
    everything_gone = await audit(live.installation, EVERYTHING)
    assert (everything_gone.expired, everything_gone.missing) == (7, [])


async def test_actions_that_retention_removed_leave_no_false_alarm(topics: Make) -> None:
    """Emails of actions that are no longer kept are neither doubled nor unasked for."""
    live = await topics(partitions=1)
    places = await live.act([action(number) for number in range(10)])
    await live.mail([(number, places[number]) for number in range(10)])
    await live.settle_all()
    await live.forget(live.names.actions, {0: 5})
    found = await audit(live.installation, EVERYTHING)
    assert (found.counts.records, found.counts.emails) == (5, 5)
    assert (found.holds, found.unasked, found.unattributed) == (True, 0, 0)


async def test_aborted_emails_do_not_count(topics: Make) -> None:
    """An email of a transaction that was aborted and written again is one email, not two."""
    live = await topics()
    places = await live.act([action(1), action(2)])
    async with transactional(live) as producer:
        for ending in (producer.abort_transaction, producer.commit_transaction):
            await producer.begin_transaction()
            await live.mail([(1, places[0])], producer)
            await ending()
    await live.settle_all()
    found = await audit(live.installation, EVERYTHING)
    assert (found.counts.emails, found.doubled) == (1, [])
    assert [owed.id for owed in found.missing] == [RecordId(*places[1])]


async def test_an_open_transaction_makes_it_undecided(topics: Make) -> None:
    """Emails behind an open transaction cannot be seen: they are not called missing, but undecided."""
    live = await topics(partitions=1)
    places = await live.act([action(1), action(2)])
    async with transactional(live) as producer:
        await producer.begin_transaction()
        await live.mail([(1, places[0])], producer)
        await live.mail([(2, places[1])])
        await live.settle_all()
        found = await audit(live.installation, EVERYTHING)
        assert (found.held_back, found.missing) == (2, [])
        assert found.open_transactions == {0: 2}
        await producer.commit_transaction()
    after = await audit(live.installation, EVERYTHING)
    assert (after.counts.emails, after.held_back, after.holds) == (2, 0, True)


async def test_a_compacted_emails_topic_proves_nothing(topics: Make) -> None:
    """It forgets the first of two emails with one key, so nothing is called missing; the audit says so."""
    live = await topics(emails={"cleanup.policy": "compact"})
    await live.act([action(1)])
    await live.settle_all()
    found = await audit(live.installation, EVERYTHING)
    assert (found.compacted, found.expired, found.missing) == (True, 1, [])


@pytest.mark.slow
async def test_a_worker_s_own_topics_hold(installation: MakeInstallation) -> None:
    """A real worker with good, misplaced, unreadable and ignored actions: nothing missing or doubled."""
    place = installation()
    worker = await ready(place)
    async with producing(place.bootstrap_servers) as producer:
        for number in range(300):
            key, value = keyed(action(number, stage="deliver" if number % 10 == 0 else "supporter_confirm"))
            anywhere = number % 4 if number % 3 == 0 else None
            await producer.send(place.names.actions, value, key=key, partition=anywhere)
        await producer.send(place.names.actions, b"{", key=b"310:x")
        await producer.flush()
    live = Topics(place.bootstrap_servers, place.group, 4)
    for _ in range(60):
        found = await audit(live.installation, EVERYTHING)
        assert found.holds
        if not found.in_flight:
            break
        await asyncio.sleep(0.2)
    counts = found.counts
    assert (counts.asked, counts.emails, counts.ignored, counts.dead_lettered) == (270, 270, 30, 1)
    assert (found.in_flight, found.unasked, found.unattributed, found.held_back) == (0, 0, 0, 0)
    assert worker.counter("confirmation_actions_rekeyed_total") > 0
