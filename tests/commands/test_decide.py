"""``streams decide``: the worker's decision for each line of a file, and nothing is written."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from streams.__main__ import main
from streams.sandbox.lookup_service import LookupService, subscribed
from streams.statuses.row import Row, encode_row
from tests.commands.conftest import Make, streams
from tests.commands.output import document
from tests.integration.topics import action, keyed, producing, read_count

NO_LOOKUP = 7
DEAD = "http://127.0.0.1:9/"
LINES = [
    keyed(action(1))[1],
    keyed(action(2, org_id=NO_LOOKUP))[1],
    b"  ",
    keyed(action(3, stage="deliver"))[1],
    b'{"stage": "supporter_confirm", "actionId": 4, "orgId": 310, "contact": {"contactRef": "ref00000004"}}',
]


def decided(tmp_path: Path, *options: str, lines: list[bytes] = LINES, url: str = DEAD) -> Any:
    """Return exit code and decisions; no output shows who signed."""
    file = tmp_path / "organisations.toml"
    entries = [
        f'[organisation.310]\nurl = "{url}"\ndeadline = 5',
        f'[organisation.{NO_LOOKUP}]\nlookup = "none"',
    ]
    file.write_text("\n".join(entries))
    feed = tmp_path / "actions.jsonl"
    feed.write_bytes(b"\n".join(lines))
    environ = {"ORGANISATIONS_FILE": str(file), "STREAMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    text = CliRunner().invoke(main, ["decide", str(feed), *options], env=environ)
    found = CliRunner().invoke(main, ["decide", str(feed), *options, "--json"], env=environ)
    assert text.exit_code == found.exit_code, text.output
    for output in (text.output, found.output):
        assert "example.org" not in output
        assert "ref0000" not in output
    return found.exit_code, [document("decide", line) for line in found.stdout.splitlines()]


def test_each_line_has_its_decision_and_nobody_is_asked(tmp_path: Path) -> None:
    """Open where a lookup decides, two buttons where there is none, ignored, a dead letter with its path."""
    code, found = decided(tmp_path)
    assert code == 1
    assert [(each["line"], each["verdict"]) for each in found] == [
        (1, "open"),
        (2, "email"),
        (4, "ignored"),
        (5, "dead_letter"),
    ]
    assert (found[1]["variant"], found[1]["reason"], found[1]["lookup"]) == ("two_button", "no_lookup", None)
    assert found[2]["ignored"] == "stage"
    assert (found[3]["error_class"], found[3]["json_path"]) == ("field_missing", "$.contact.email")
    assert decided(tmp_path, lines=LINES[:4])[0] == 0


def test_lookups_are_asked_where_somebody_wants_that(tmp_path: Path) -> None:
    """--ask asks as the worker does; a lookup that fails is two buttons, and exit code 1."""
    with LookupService(subscribed) as service:
        code, found = decided(tmp_path, "--ask", lines=LINES[:2], url=service.url)
        assert len(service.questions) == 2  # once for text, once for JSON
    assert code == 0
    assert [(each["variant"], each["lookup"]) for each in found] == [
        ("one_button", {"outcome": "existing", "cause": None}),
        ("two_button", None),
    ]
    code, found = decided(tmp_path, "--ask", lines=LINES[:1])
    assert (code, found[0]["lookup"]) == (1, {"outcome": "error", "cause": "connect"})


def test_a_wrong_file_is_one_sentence(tmp_path: Path) -> None:
    """A missing file of actions is 1, a wrong organisations file 2."""
    missing = CliRunner().invoke(main, ["decide", str(tmp_path / "none")])
    assert (missing.exit_code, "cannot read" in missing.stderr) == (1, True)
    wrong = tmp_path / "organisations.toml"
    wrong.write_text("[organisation.310]\nurl = 1\n")
    refused = CliRunner().invoke(main, ["decide", "-"], env={"ORGANISATIONS_FILE": str(wrong)})
    assert (refused.exit_code, "line 2" in refused.stderr) == (2, True)


@pytest.mark.kafka
async def test_the_table_in_force_decides(topics: Make, tmp_path: Path) -> None:
    """--table reads the newest rows of the changelog; an expired one counts as none; nothing is written."""
    live = await topics()
    rows = [
        (1, Row(False, 1.0)),
        (1, Row(True, 2.0)),
        (2, Row(True, 1.0, 2.0)),
        (3, Row(True, 1.0)),
        (3, None),
    ]
    async with producing(live.servers) as producer:
        for number, row in rows:
            key, _ = keyed(action(number))
            await producer.send(live.names.changelog, row and encode_row(row), key=key)
        await producer.flush()
    feed = tmp_path / "actions.jsonl"
    feed.write_bytes(b"\n".join(keyed(action(number))[1] for number in (1, 2, 3)))
    result = await streams(live, "decide", str(feed), "--table", "--json")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["variant"], each["reason"]) for each in found] == [
        ("one_button", "known_subscribed"),
        ("two_button", "no_lookup"),
        ("two_button", "no_lookup"),
    ]
    assert await read_count(live.servers, live.names.emails, 0, seconds=1) == []
