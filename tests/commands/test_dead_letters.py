"""Dead letters: listed without content, shown on request, retried once."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from streams.commands.audit.snapshot import Settled
from streams.commands.dead_letters.commands import dead_letters
from streams.commands.dead_letters.letters import DeadLetter
from streams.commands.dead_letters.listing import COUNTED_BY, counts
from streams.commands.dead_letters.retry import RETRY_OF, _progress, plan, retry
from streams.commands.topic_reader import RecordId
from streams.commands.transactions import NotWritten
from streams.delivery.transaction import Position
from streams.messages.decode import ErrorClass
from tests.commands.conftest import Make, streams
from tests.commands.topics import Topics
from tests.integration.topics import action, producing, read_count


async def actions_of(live: Topics, count: int) -> list[Any]:
    return await read_count(live.servers, live.names.actions, count, seconds=20)


async def three_letters(make: Make) -> Topics:
    """Two of class not_json from partition 0, one of class field_missing from partition 1."""
    live = await make()
    await live.bury((0, 10), b"{a}", ErrorClass.NOT_JSON)
    await live.bury((0, 11), b"{bb}", ErrorClass.NOT_JSON)
    await live.bury((1, 12), b"{ccc}", ErrorClass.FIELD_MISSING, "$.orgId")
    return live


@pytest.mark.kafka
async def test_list_shows_everything_but_content(topics: Make) -> None:
    """Place, class, path, time, size and origin; --class chooses; --json is one object a line."""
    live = await three_letters(topics)
    listed = await streams(live, "dead-letters", "list")
    assert listed.exit_code == 0
    lines = listed.stdout.splitlines()
    assert len(lines) == 3
    assert [line.split()[:3] for line in lines] == [
        ["0/0", "not_json", "$"],
        ["0/1", "not_json", "$"],
        ["1/0", "field_missing", "$.orgId"],
    ]
    assert lines[2].endswith(f"5  {live.names.actions}/1/12")
    assert "{" not in listed.stdout
    chosen = await streams(live, "dead-letters", "list", "--class", "field_missing", "--json")
    (document,) = map(json.loads, chosen.stdout.splitlines())
    assert (document["place"], document["size"], document["shortened"]) == ("1/0", 5, False)


@pytest.mark.kafka
async def test_list_marks_what_was_retried(topics: Make) -> None:
    """A retried letter is marked; nobody knows of a partition of which nothing was retried yet."""
    live = await three_letters(topics)
    await retry(live.installation, {RecordId(0, 1)}, None)
    listed = await streams(live, "dead-letters", "list")
    assert [line.endswith("  retried") for line in listed.stdout.splitlines()] == [False, True, False]
    documents = await streams(live, "dead-letters", "list", "--json")
    found = [json.loads(line)["retried"] for line in documents.stdout.splitlines()]
    assert found == [False, True, None]


@pytest.mark.kafka
async def test_list_chooses_by_time_and_reason_and_counts(topics: Make) -> None:
    """--from leaves out older ones, --reason is another word for --class, --count-by counts the rest."""
    live = await three_letters(topics)
    counted = await streams(live, "dead-letters", "list", "--from", "-1h", "--count-by", "class")
    assert [line.split() for line in counted.stdout.splitlines()] == [
        ["2", "not_json"],
        ["1", "field_missing"],
    ]
    chosen = await streams(
        live, "dead-letters", "list", "--reason", "not_json", "--count-by", "partition", "--json"
    )
    assert list(map(json.loads, chosen.stdout.splitlines())) == [
        {"partition": f"{live.names.actions}/0", "count": 2}
    ]
    late = await streams(live, "dead-letters", "list", "--from", "2100-01-01T00:00:00Z")
    assert (late.stdout, late.stderr) == ("", "0 dead letters\n")


@pytest.mark.parametrize("field", COUNTED_BY)
def test_letters_are_counted_by_any_field(field: str) -> None:
    """Each field that the command offers; hours and days in the order of time, the rest by number."""
    made = [
        DeadLetter(
            RecordId(0, at), "actions", RecordId(3, at), "not_json", "$", at * 1_800_000, 9, shortened=False
        )
        for at in (3, 0, 1, 2, 4)
    ]
    found = counts(made, field)
    assert sum(count for _, count in found) == 5
    if field == "hour":
        assert found == [("1970-01-01T00:00Z", 2), ("1970-01-01T01:00Z", 2), ("1970-01-01T02:00Z", 1)]
    (option,) = [each for each in dead_letters.commands["list"].params if each.name == "field"]  # type: ignore[attr-defined]
    assert field in option.type.choices


@pytest.mark.kafka
async def test_show_prints_one_record_and_warns(topics: Make) -> None:
    """Headers, an empty line, the value byte for byte; the warning goes to standard error."""
    live = await three_letters(topics)
    shown = await streams(live, "dead-letters", "show", "0/1")
    assert shown.exit_code == 0
    head, _, value = shown.stdout.partition("\n\n")
    assert value == "{bb}"
    assert "__streams.errors.exception: not_json" in head.splitlines()
    assert "personal data" in shown.stderr
    for place in ("0/7", "9/0"):
        missing = await streams(live, "dead-letters", "show", place)
        assert missing.exit_code == 1
        assert f"there is no record at {place}" in missing.stderr


@pytest.mark.kafka
async def test_a_retried_letter_is_the_original_record(topics: Make) -> None:
    """Original bytes, key, headers and partition, and the place of the letter; no error headers."""
    live = await three_letters(topics)
    dry = await streams(live, "dead-letters", "retry")
    assert "dry run: 3 dead letters would be retried" in dry.stdout
    assert await actions_of(live, 0) == []
    done = await streams(live, "dead-letters", "retry", "--yes")
    assert (done.exit_code, done.stdout) == (0, "3 dead letters retried\n")
    records = await actions_of(live, 3)
    found = {record.value: (record.partition, record.key, record.headers) for record in records}
    assert found == {
        value: (
            partition,
            b"310:x",
            (("trace", b"1"), (RETRY_OF, f"{live.names.dead_letters}/{place}".encode())),
        )
        for value, partition, place in ((b"{a}", 0, "0/0"), (b"{bb}", 0, "0/1"), (b"{ccc}", 1, "1/0"))
    }


@pytest.mark.kafka
async def test_a_letter_is_retried_once_unless_it_is_named(topics: Make) -> None:
    """One class now, the rest later, in any order: each once. By name: again."""
    live = await three_letters(topics)
    first = await retry(live.installation, (), "field_missing")
    assert [letter.id for letter in first.chosen] == [RecordId(1, 0)]
    named = await retry(live.installation, {RecordId(0, 1)}, None)
    assert [letter.id for letter in named.chosen] == [RecordId(0, 1)]
    rest = await retry(live.installation, (), None)
    assert ([letter.id for letter in rest.chosen], rest.already) == ([RecordId(0, 0)], 2)
    nothing = await retry(live.installation, (), None)
    assert (nothing.chosen, nothing.already) == ([], 3)
    await live.bury((0, 13), b"{d}", ErrorClass.NOT_JSON)
    new = await retry(live.installation, (), None)
    assert ([letter.id for letter in new.chosen], new.already) == ([RecordId(0, 2)], 3)
    again = await retry(live.installation, {RecordId(0, 0)}, None)
    assert len(again.chosen) == 1
    values = [record.value for record in await actions_of(live, 5)]
    assert sorted(values) == [b"{a}", b"{a}", b"{bb}", b"{ccc}", b"{d}"]


@pytest.mark.kafka
async def test_progress_that_kafka_forgot_is_found_in_the_records(topics: Make) -> None:
    """Without committed offsets, the header of what was retried keeps it from being retried again."""
    live = await three_letters(topics)
    async with producing(live.servers) as producer:
        header = (RETRY_OF, f"{live.names.dead_letters}/0/1".encode())
        await producer.send_and_wait(live.names.actions, b"{bb}", headers=[header], partition=0)
    found = await plan(live.installation, (), None)
    assert ([letter.id for letter in found.chosen], found.already) == ([RecordId(0, 0), RecordId(1, 0)], 1)


@pytest.mark.kafka
async def test_what_cannot_be_retried_is_said_and_left(topics: Make) -> None:
    """A shortened letter, one of another topic, one of no topic: each with a reason; the rest is retried."""
    live = await topics()
    async with producing(live.servers) as producer:
        for number, topic in enumerate((live.names.actions, "elsewhere", "")):
            headers = [
                ("__streams.errors.topic", topic.encode()),
                ("__streams.errors.partition", b"0"),
                ("__streams.errors.offset", b"%d" % number),
                ("shortened-from", b"99"),
            ]
            await producer.send_and_wait(
                live.names.dead_letters, b"x", partition=0, headers=headers[: 3 + (not number)]
            )
    await live.bury((1, 5), orjson.dumps(action(1)), ErrorClass.INTERNAL_ERROR)
    done = await streams(live, "dead-letters", "retry", "--yes", "0/0", "0/1", "0/2", "1/0", "1/9")
    assert done.exit_code == 1
    assert done.stdout == "1 dead letter retried\n"
    assert done.stderr.splitlines() == [
        "cannot be retried: 0/0: a part of it was left out",
        "cannot be retried: 0/1: it does not say that it comes from one of this group's topics",
        "cannot be retried: 0/2: it does not say that it comes from one of this group's topics",
        "there is no such dead letter: 1/9",
    ]


def test_progress_is_an_offset_and_runs() -> None:
    """Committed is the first letter not retried; runs go over letters that exist, not over numbers."""
    here = [3, 4, 7, 8, 20, 21]
    progress = _progress(here, {3, 7, 8, 21})
    settled = Settled(Position(progress.offset, progress.metadata))
    assert progress.offset == 4
    assert [offset for offset in here if offset in settled] == [3, 7, 8, 21]
    assert _progress(here, set(here)).offset == 22


def test_progress_that_does_not_fit_is_refused() -> None:
    """More alternations than a commit's metadata holds: a sentence, before anything is written."""
    with pytest.raises(NotWritten, match="alternate too often"):
        _progress(range(10_000), set(range(1, 10_000, 2)))


@pytest.mark.parametrize("command", ["list", "retry"])
def test_an_unknown_class_is_a_usage_error(command: str) -> None:
    """Exit code 2 and the classes that there are: a list of none would look like good news."""
    result = CliRunner().invoke(dead_letters, [command, "--class", "nope"])
    assert result.exit_code == 2
    assert f"'nope' is no error class: known are {', '.join(ErrorClass)}" in result.stderr


@pytest.mark.parametrize("place", ["7", "a/b", "1/-2", "1/2/3/4"])
def test_a_wrong_place_is_a_usage_error(place: str) -> None:
    """Exit code 2 and what a place looks like."""
    result = CliRunner().invoke(dead_letters, ["show", place])
    assert result.exit_code == 2
    assert "PARTITION/OFFSET" in result.stderr
