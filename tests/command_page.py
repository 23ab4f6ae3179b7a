"""The page docs/commands.md: each command of the command line with what it really prints.

``python -m tests.command_page`` runs every example on a Kafka of its own, and writes the page anew. What
differs from run to run (times, ids, addresses, the names of this run's topics) has fixed words in its place.
"""

import asyncio
import json
import re
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click

from streams.__main__ import main
from streams.messages.decode import ErrorClass
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import LookupService, subscribed
from streams.statuses.row import Row, encode_row
from tests.commands.output import answered
from tests.commands.topics import Topics
from tests.integration.topics import action, keyed, send, status

PAGE = Path(__file__).parent.parent / "docs/commands.md"
#: Lines of an output that the page shows; the rest is an ellipsis.
LINES = 14
#: What is typed after ``streams``, for each command. A command that runs until it is stopped, or that needs a
#: broken log, shows its help.
EXAMPLES = {
    "worker": "worker --help",
    "kafka": "kafka --help",
    "feed": "feed my.jsonl",
    "status": "status statuses.jsonl",
    "settings": "settings",
    "check": "check",
    "decide": "decide my.jsonl",
    "demo": "demo --help",
    "drill": "drill --help",
    "lookup": "lookup --org 310 --email ana@example.org",
    "audit": "audit --from -1h",
    "resend": "resend --from -1h",
    "trace": "trace 1",
    "supporter get": "supporter get 310:ref00000001",
    "supporter forget": "supporter forget 310:ref00000001",
    "dead-letters accept": "dead-letters accept --help",
    "dead-letters list": "dead-letters list",
    "dead-letters show": "dead-letters show 1/0",
    "dead-letters retry": "dead-letters retry 1/0",
    "top": "top --once",
    "doctor": "doctor",
    "start-at": "start-at --help",
    "breaker": "breaker",
    "breaker retry": "breaker retry --help",
    "acls": "acls --principal User:streams",
}
_HEAD = """# Commands

What each command prints, on a Kafka with four actions: one with its email, one whose email is missing, one
that is a dead letter, one that no worker has read yet. A test types all of them again and compares.
`python -m tests.command_page` writes this page anew. Times, ids and addresses are made up. Exit codes are in
[reference.md](reference.md#exit-codes), and `streams COMMAND --help` says every option.
"""
#: A progress bar, which only a slow command shows.
_PROGRESS = re.compile(r"^(looking at .* …|[\d,]+ [a-z ]+ \(\d.*)\n", re.MULTILINE)
_FIXED = (
    (_PROGRESS, ""),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "2026-11-24T10:00:00.000Z"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "3f1c9b52-6a0e-5d7b-9c64-0f2d8e51a7b3"),
    (re.compile(r"\d+\.\d{3} s"), "0.034 s"),
    (re.compile(r"time: [\d,]+ ms, of [\d,]+"), "time: 5 ms, of 2,000"),
    (re.compile(r"in [\d.]+ s \([\d,]+/s\)"), "in 0.1 s (10/s)"),
    (re.compile(r"\d+ min\b"), "5 min"),
)


def commands(group: click.Group = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that can be run, as it is typed, in the order of the command line."""
    for name, command in group.commands.items():
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")


async def outputs(bootstrap_servers: str, name: str, folder: Path) -> dict[str, str]:
    """Make the topics of the page, type every example, and return what each printed.

    Args:
        bootstrap_servers: of a Kafka with one broker.
        name: of the group, and the beginning of the topics' names; no other run has it.
        folder: for the files that the examples name.
    """
    live = Topics(bootstrap_servers, name)
    compacted = {"cleanup.policy": "compact"}
    await live.create(statuses=compacted, changelog=compacted)
    places = await live.act([action(1), action(2), b"no action"])
    await live.mail([(1, places[0])])
    await live.bury(places[2], b"no action", ErrorClass.NOT_JSON)
    row = Row(True, time.time() - 300, time.time() + 3600)
    await send(live.servers, live.names.changelog, [(keyed(action(1))[0], encode_row(row))])
    await send(live.servers, live.names.statuses, [status(1, True)])
    await live.settle_all()
    (folder / "my.jsonl").write_text(json.dumps(action(3)) + "\n")
    line = {"orgId": 310, "contactRef": "ref00000003", "subscribed": True, "asOf": "2026-11-24T10:00:00Z"}
    (folder / "statuses.jsonl").write_text(json.dumps(line) + "\n")
    with LookupService(subscribed) as service:
        environ = {
            **live.environ,
            "STREAMS_LOOKUP_URL": service.url,
            "STREAMS_LOOKUP_DEADLINE": "20",  # that a busy machine keeps, too
            "COLUMNS": "100",
        }
        own = {
            bootstrap_servers: "kafka-1:9092",
            urlsplit(service.url).netloc: "crm.example",
        }
        found = {}
        for command, typed in EXAMPLES.items():
            words = [str(folder / word) if word.endswith(".jsonl") else word for word in shlex.split(typed)]
            result = await asyncio.to_thread(answered, words, environ)
            found[command] = fixed(result.output, live, {f"{folder}/": "", **own})
    return found


def fixed(printed: str, live: Topics, own: Mapping[str, str]) -> str:
    """Return an output with fixed words where this run has its own."""
    names = live.names
    usual = {
        names.changelog: "confirmation-streams-supporter-status-changelog",
        names.rekeyed: "confirmation-streams-rekeyed-actions",
        names.actions: "actions",
        names.statuses: "supporter-status",
        names.emails: "confirmation-emails",
        names.dead_letters: "actions.dlq",
        live.installation.group: "confirmation-streams",
    }
    for what, instead in {**own, **usual}.items():
        printed = printed.replace(what, instead)
    for pattern, instead in _FIXED:
        printed = pattern.sub(instead, printed)
    return "".join(f"{line.rstrip()}\n" for line in printed.splitlines())


def page(printed: Mapping[str, str]) -> str:
    """Return the page: of each command its first sentence, what is typed, and what is printed."""
    parts = [_HEAD]
    for name, command in commands():
        lines = printed[name].splitlines()
        shown = "\n".join([*lines[:LINES], *(["…"] if len(lines) > LINES else [])])
        about = command.get_short_help_str(200)
        parts.append(f"## {name}\n\n{about}\n\n```console\n$ streams {EXAMPLES[name]}\n{shown}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    with EmbeddedKafka() as kafka, tempfile.TemporaryDirectory() as made:
        PAGE.write_text(page(asyncio.run(outputs(kafka.bootstrap_servers, "page", Path(made)))), "utf-8")
