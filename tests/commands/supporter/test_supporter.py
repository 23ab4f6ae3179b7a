"""``streams supporter``: one supporter's status, and how it is forgotten."""

import time
from typing import Any

import pytest
from click.testing import CliRunner

from streams.__main__ import main
from streams.commands.installation import Described
from streams.commands.supporter.footprint import Lying, of_key, set_end
from streams.commands.supporter.standing import said_in
from streams.commands.topic_reader import RecordId
from streams.messages.decode import ErrorClass
from streams.messages.keys import partition_of
from streams.statuses.row import Row, encode_row
from tests.commands.conftest import Make, streams
from tests.commands.output import document
from tests.commands.topics import Topics
from tests.integration.topics import action, keyed, producing, read, send, status

KEY, _ = keyed(action(1))


async def got(live: Topics, code: int = 0) -> dict[str, Any]:
    result = await streams(live, "supporter", "get", KEY.decode(), "--json")
    text = await streams(live, "supporter", "get", KEY.decode())
    assert (result.exit_code, text.exit_code) == (code, code), result.output + text.output
    for output in (result.output, text.output):
        assert "ref0000" not in output
    found: dict[str, Any] = document("supporter-get", result.stdout)
    return found


@pytest.mark.kafka
async def test_a_status_is_shown_with_its_source_age_and_expiry(topics: Make) -> None:
    """Unknown, from a lookup, from the CRM; what the CRM wrote last, and whether the workers have read it."""
    live = await topics()
    assert (await got(live, code=1))["row"] is None
    now = time.time()
    await send(live.servers, live.names.changelog, [(KEY, encode_row(Row(True, now - 60, now + 60)))])
    found = await got(live)
    assert (found["variant"], found["reason"], found["crm"]) == ("one_button", "known_subscribed", None)
    assert (found["row"]["source"], found["row"]["subscribed"]) == ("lookup", True)
    assert 60 <= found["row"]["age_seconds"] < 120
    await send(live.servers, live.names.changelog, [(KEY, encode_row(Row(True, now - 60, now - 1)))])
    assert (await got(live, code=1))["row"]["expires_at"] is not None
    old = status(1, True, as_of="2026-11-23T10:00:00Z")
    await send(live.servers, live.names.statuses, [status(1, False), old, (KEY, b"{"), status(2, True)])
    crm = (await got(live, code=1))["crm"]
    assert (crm["row"]["subscribed"], crm["refused"], crm["ingested"]) == (False, 1, False)
    await live.settle({crm["partition"]: (crm["offset"] + 1, [])}, live.names.statuses)
    await send(live.servers, live.names.changelog, [(KEY, encode_row(Row(False, now - 60)))])
    found = await got(live)
    assert (found["row"]["source"], found["row"]["expires_at"]) == ("crm", None)
    assert (found["variant"], found["reason"]) == ("two_button", "known_not_subscribed")
    assert found["crm"]["ingested"] is True


@pytest.mark.kafka
async def test_forgetting_writes_a_tombstone_and_says_what_is_left(topics: Make) -> None:
    """A dry run writes nothing; what lies in each topic is counted, wherever it lies, and nobody else's."""
    live = await topics(actions={"retention.ms": "86400000", "segment.ms": "3600000"})
    places = await live.act([action(1), action(1, stage="deliver"), action(2)])
    _, value = keyed(action(1))
    async with producing(live.servers) as producer:  # keyed by something else, in another partition
        await producer.send_and_wait(
            live.names.actions, value, key=b"7", partition=1 - partition_of(KEY, live.partitions)
        )
    await live.mail([(1, places[0]), (2, places[2])])
    await live.bury(places[1], value[:-1], ErrorClass.NOT_JSON)
    await send(live.servers, live.names.statuses, [status(1, True), status(2, True)])
    dry = await streams(live, "supporter", "forget", KEY.decode(), "--json")
    found = document("supporter-forget", dry.stdout)
    assert (dry.exit_code, found["forgotten"]) == (0, False)
    counts = {each["topic"]: each["records"] for each in found["topics"]}
    names = live.names
    assert counts == {
        names.actions: 3,
        names.statuses: 1,
        names.emails: 1,
        names.dead_letters: 1,
        names.changelog: 0,
        names.rekeyed: 0,
    }
    done = await streams(live, "supporter", "forget", KEY.decode(), "--yes")
    assert (done.exit_code, "ref0000" in done.output, "s1@" in done.output) == (0, False, False)
    assert f"{names.actions}: 3 records" in done.stdout
    records = await read(live.servers, names.statuses, lambda found: len(found) == 3, seconds=10)
    assert [record.value for record in records if record.key == KEY][1:] == [None]
    crm = (await got(live, code=1))["crm"]
    assert (crm["forgotten"], crm["row"]) == (True, None)


def test_a_key_is_an_organisation_and_a_contact() -> None:
    """Anything else is refused without quoting it; "-" reads it from standard input."""
    for wrong in ("7001", "7001:", "x:secret", "ana@example.org"):
        result = CliRunner().invoke(main, ["supporter", "get", wrong])
        assert (result.exit_code, wrong in result.stderr.splitlines()[-1]) == (2, False)
        assert "orgId:contactRef" in result.stderr
    environ = {"STREAMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    result = CliRunner().invoke(main, ["supporter", "get", "-"], input="310:q2hX\n", env=environ)
    assert result.exit_code == 3
    assert CliRunner().invoke(main, ["supporter", "get", "-"], input="\n").exit_code == 2


class _Record:
    def __init__(
        self, value: bytes | None, key: bytes | None = KEY, offset: int = 0, timestamp: int = 0
    ) -> None:
        self.key, self.value, self.partition, self.offset, self.timestamp = key, value, 0, offset, timestamp


def test_the_crm_s_newest_word_counts_and_not_its_last() -> None:
    """An older asOf changes nothing; what cannot be read changes nothing; a tombstone forgets."""
    new, old = status(1, True)[1], status(1, False, as_of="2026-11-23T10:00:00Z")[1]
    said = said_in([_Record(new), _Record(old, offset=1)], 1, 1.8e9)
    assert (said.row is not None and said.row.subscribed, said.is_ingested) == (True, False)
    said = said_in([_Record(new), _Record(None, offset=1), _Record(b"{", offset=2)], 3, 1.8e9)
    assert (said.row, said.is_forgotten, said.refused, said.is_ingested) == (None, True, 1, True)
    assert said.place == RecordId(0, 2)


def test_a_record_is_a_supporter_s_by_its_key_or_by_what_it_says() -> None:
    """Also where its contactRef is escaped, or its JSON is damaged; never another organisation's."""
    whole, keys_only = of_key(KEY, whole=True), of_key(KEY, whole=False)
    value = keyed(action(1))[1]
    escaped = value.replace(b"ref00000001", rb"\u0072ef00000001")
    for found in (value, escaped, value[:-1]):
        assert whole(_Record(found, b"other"))
        assert not keys_only(_Record(found, b"other"))
    assert keys_only(_Record(None))
    for other in (keyed(action(1, org_id=311))[1], keyed(action(2))[1], None):
        assert not whole(_Record(other, b"other"))


def test_how_long_a_record_may_stay_follows_from_its_topic() -> None:
    """Retention and a segment's time after the newest one; unknown where it is for ever or unseen."""
    config = {"cleanup.policy": "delete", "retention.ms": "1000", "segment.ms": "500"}
    for configs, end in (
        (config, 1_600),
        ({**config, "retention.ms": "-1"}, None),
        ({**config, "cleanup.policy": "compact"}, None),
    ):
        lying = Lying("t", 1, newest=100)
        set_end(lying, Described({"t": 1}, {"t": 1}, {"t": 1}, {"t": configs}))
        assert (lying.deleted_by, lying.is_compacted) == (end, configs["cleanup.policy"] == "compact")
    unseen = Lying("t", 1, newest=100)
    set_end(unseen, Described({"t": 1}, {"t": 1}, {"t": 1}, {}))
    assert unseen.deleted_by is None
