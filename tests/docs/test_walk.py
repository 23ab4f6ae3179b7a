"""The incident of docs/operations.md, typed step by step at a real worker."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from streams.observability import group_overview
from streams.sandbox.lookup_service import Behaviour, LookupService, not_subscribed
from streams.sandbox.worker import Installation, WorkerProcess
from tests.clients import make_topics
from tests.commands.output import answered
from tests.docs.commands import ROOT
from tests.integration.steps import Make, act, ready, settled
from tests.integration.topics import action

TEXT = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
SECTION = TEXT[TEXT.index("## One incident, step by step") : TEXT.index("## A batch that cannot be read")]
#: What a command of the section ends with, where that is not 0: it finds something, or is a dry run.
CODES = {
    "streams breaker": (1,),
    "streams doctor": range(101),
    "streams lookup --org 310 --email ana@example.org": range(2),
    "streams audit --from -2h": range(2),
    "streams resend --from -2h": (1,),
    "streams trace 7013": range(2),
}


class Step(NamedTuple):
    """What is typed, and lines that it prints among others."""

    typed: str
    printed: list[str]


def steps() -> Iterator[Step]:
    for block in re.findall(r"^```console\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL):
        for typed, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            yield Step(typed, printed.splitlines())


def fits(line: str, pattern: str) -> bool:
    """Whether a line is as the section has it; an ellipsis is anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), line.rstrip()) is not None


def headline(worker: WorkerProcess) -> str:
    found = json.loads(worker.get("/live")[1] or "{}").get("headline", {})
    return f"{found.get('title')} {found.get('text')}"


async def incident(place: Installation, worker: WorkerProcess) -> None:
    """Until the first line of the page is that of the section."""
    quoted = re.findall(r"^> (.*)$", SECTION, re.MULTILINE)
    await act(place, *(action(number) for number in range(7001, 7013)))
    await asyncio.to_thread(worker.wait_counter, 12, "confirmation_emails_total")
    poison = action(7013)
    del poison["contact"]["email"]
    await act(place, poison)
    await asyncio.to_thread(worker.wait_counter, 1, "confirmation_dead_letters_total")
    await settled(place, lambda: fits(headline(worker), " ".join(quoted)))


@pytest.mark.kafka
@pytest.mark.timeout(600)  # a dozen commands in a row, on a machine that has much else to do
async def test_the_incident_goes_as_the_page_tells_it(
    installation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command ends and prints as the section says, and in the end no email is missing."""
    corrected = re.search(r"^```jsonl\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
    assert corrected is not None
    monkeypatch.setattr(group_overview, "ASK_WITHIN", 30.0)  # nobody hangs here, but this machine may be busy
    (tmp_path / "corrected.jsonl").write_text(corrected[1])
    with ExitStack() as stack:
        crm = stack.enter_context(LookupService(not_subscribed, Behaviour.REFUSING))
        file = tmp_path / "organisations.toml"
        file.write_text(
            f'[organisation.310]\nname = "Example"\nurl = "{crm.url}"\nbreaker_first_pause = 60\n'
        )
        place = installation(organisations_file=file, actions_start="latest", topic_partitions=1)
        await make_topics(place.bootstrap_servers, 1, place.names.actions)
        await act(place, action(6999))
        worker = await ready(place)
        await incident(place, worker)
        usual = {
            place.names.actions: "actions",
            place.names.emails: "confirmation-emails",
            place.names.dead_letters: "actions.dlq",
            f"{tmp_path}/": "",
        }
        typed: list[str] = []
        for step in steps():
            if step.typed in typed and step.typed.startswith("streams lookup"):
                crm.behave(Behaviour.HEALTHY)
            words = shlex.split(step.typed.replace("corrected.jsonl", str(tmp_path / "corrected.jsonl")))
            words = [place.names.actions if word == "actions" else word for word in words]
            result = await asyncio.to_thread(answered, words[1:], place.environ)
            output = result.output
            for own, instead in usual.items():
                output = output.replace(own, instead)
            assert result.exit_code in CODES.get(step.typed, (0,)), f"{step.typed}\n{output}"
            for pattern in step.printed:
                assert any(fits(line, pattern) for line in output.splitlines()), f"{pattern}\n{output}"
            if step.typed.startswith("streams feed"):
                await asyncio.to_thread(worker.wait_counter, 13, "confirmation_emails_total")
            typed.append(step.typed)
    assert typed[-1] == "streams audit --from -2h"
    assert result.exit_code == 0
