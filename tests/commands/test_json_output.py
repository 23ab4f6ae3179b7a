"""The JSON of every command: one casing, and a schema for each that real output fits."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from streams.__main__ import main
from streams.commands.dead_letters.letters import DeadLetter
from streams.commands.dead_letters.listing import COUNTED_BY, counts
from streams.commands.topic_reader import RecordId
from streams.messages.decode import ErrorClass
from streams.statuses.row import Row, encode_row
from tests.commands.conftest import Make
from tests.commands.output import answered, document
from tests.docs.commands import ROOT
from tests.examples import SCHEMAS
from tests.integration.topics import action, keyed, send, status

FOLDER = SCHEMAS / "commands"
SNAKE_CASE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
#: Names in the output that are not names of fields: groups of actions in the drill.
NAMES = {"healthy organisation", "known supporters"}


def printing_json(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every command below `group` that can print JSON, as it is typed, and the option for it."""
    for name, command in group.commands.items():
        here = (*path, name)
        if isinstance(command, click.Group):
            yield from printing_json(command, here)
        for option in command.params:
            if "--json" in option.opts:
                yield " ".join(here), "--json"
            elif isinstance(option.type, click.Choice) and "json" in option.type.choices:
                yield " ".join(here), f"{option.opts[0]} json"


PRINTING = dict(printing_json())


def schemas() -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def schema_of(command: str) -> str:
    """The schema whose title speaks of this command."""
    typed = f"`streams {command} {PRINTING[command]}"
    (name,) = (each for each, schema in schemas().items() if typed in schema["title"])
    return name


def test_every_command_that_prints_json_has_one_schema() -> None:
    """Its title names the command as it is typed, and no schema is of a command that is not there."""
    assert {schema_of(command) for command in PRINTING} == set(schemas())
    assert len(PRINTING) >= 12


def test_every_field_is_in_snake_case_and_no_other_field_is_allowed() -> None:
    """In every object of every schema; an object of unknown names says what their values are."""

    def judge(name: str, part: Any) -> None:
        if isinstance(part, list):
            for each in part:
                judge(name, each)
        elif isinstance(part, dict):
            if "object" in part.get("type", ()):
                assert "additionalProperties" in part, f"{name}: {part}"
                assert part["additionalProperties"] is False or part["propertyNames"], name
                for field in part.get("properties", {}):
                    assert SNAKE_CASE.fullmatch(field) or field in NAMES, f"{name}: {field}"
                assert sorted(part.get("required", ())) == sorted(part.get("properties", {})), name
            for each in part.values():
                judge(name, each)

    for name, schema in schemas().items():
        assert schema["$id"] == f"commands/{name}.json"
        judge(name, schema)


def test_the_reference_names_every_command_that_prints_json() -> None:
    """So that nobody has to look for it."""
    text = (ROOT / "docs/reference.md").read_text()
    section = text[text.index("## Output for programs") : text.index("## Exit codes")]
    assert [command for command in PRINTING if f"`{command}`" not in section] == []


@pytest.mark.parametrize("field", COUNTED_BY)
def test_each_count_of_dead_letters_fits_the_schema_of_the_list(field: str) -> None:
    """`--count-by` prints the value and how many letters have it, under the name of what is counted by."""
    letter = DeadLetter(RecordId(0, 1), "actions", RecordId(0, 7), "not_json", "$", 0, 9, False)
    for value, count in counts([letter], field):
        document("dead-letters-list", json.dumps({field: value, "count": count}))


#: Of the commands that look at an installation: what to type, with the exit codes that are an answer.
TYPED: dict[str, tuple[Sequence[str], Sequence[int]]] = {
    "settings": ((), (0,)),
    "check": ((), (0, 1)),
    "decide": (("{file}", "--table"), (0, 1)),
    "lookup": (("--org", "310", "--email", "ana@example.org"), (1,)),
    "audit": ((), (1,)),
    "trace": (("1",), (0, 1)),
    "supporter get": (("310:ref00000001",), (0,)),
    "supporter forget": (("310:ref00000001",), (0,)),
    "dead-letters list": ((), (0,)),
    "top": (("--once",), (1,)),
    "doctor": ((), range(101)),
    "breaker": ((), (1,)),
    "acls": (("--make-topics",), (0,)),
}
#: A minute long, and its result goes to a file: the test of the drill itself looks at that.
ELSEWHERE = {"drill"}


@pytest.mark.kafka
@pytest.mark.timeout(600)  # a dozen commands in a row, on a machine that has much else to do
async def test_what_every_command_prints_fits_its_schema(topics: Make, tmp_path: Path) -> None:
    """On topics with an email, one that is missing, one that is doubled, a dead letter and two statuses."""
    live = await topics()
    places = await live.act([action(1), action(2), action(3), b"no action"])
    await live.mail([(1, places[0]), (3, places[2]), (3, places[2])])
    await live.bury(places[3], b"no action", ErrorClass.NOT_JSON)
    now = time.time()
    row = encode_row(Row(True, now - 60, now + 600))
    await send(live.servers, live.names.changelog, [(keyed(action(1))[0], row)])
    await send(live.servers, live.names.statuses, [status(1, True)])
    await live.settle_all()
    file = tmp_path / "actions.jsonl"
    file.write_bytes(b"\n".join(keyed(action(number))[1] for number in (1, 2)))
    assert set(TYPED) | ELSEWHERE == set(PRINTING)
    environ = {**live.environ, "STREAMS_LOOKUP_URL": "http://127.0.0.1:9/"}
    for command, (arguments, codes) in TYPED.items():
        typed = [each.format(file=file) for each in arguments]
        words = [*command.split(), *typed, *PRINTING[command].split()]
        result = await asyncio.to_thread(answered, words, environ)
        assert result.exit_code in codes, f"{command}: {result.output}"
        assert "example.org" not in result.output
        is_lines = "line of the output" in schemas()[schema_of(command)]["title"]
        printed = result.stdout.splitlines() if is_lines else [result.stdout]
        assert printed
        for each in printed:
            document(schema_of(command), each)
