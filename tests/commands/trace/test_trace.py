"""``streams trace`` on a real Kafka: one action, and all that came of it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from streams.actions.rekeying import REKEYED_FROM
from streams.commands.audit.auditing import audit
from streams.commands.audit.outcome import AuditRange
from streams.commands.audit.resend import resend
from streams.commands.dead_letters.retry import retry
from streams.commands.trace.following import trace
from streams.commands.trace.report import as_json, as_lines
from streams.commands.trace.searching import Between, NotTraceable
from streams.commands.trace.subject import subject_of
from streams.delivery.letter_marks import PASSED_OVER
from streams.kafka.topics import marks_topic
from streams.messages.decode import ErrorClass
from streams.messages.email import EmailWriter
from streams.messages.keys import partition_of
from tests.clients import make_topics
from tests.commands.conftest import Make, streams
from tests.commands.output import document
from tests.commands.topics import Topics
from tests.integration.topics import action, keyed, producing

pytestmark = pytest.mark.kafka


async def traced(live: Topics, name: object, code: int = 0) -> list[dict[str, Any]]:
    """Trace, and return what is printed as JSON; neither that nor the text shows who signed."""
    found = await trace(live.installation, subject_of(str(name)), Between())
    assert found.exit_code == code, found
    printed = json.dumps(as_json(found, live.names))
    for output in (printed, "\n".join(as_lines(found, live.names))):
        assert "@" not in output
        assert "ref0000" not in output
    actions: list[dict[str, Any]] = document("trace", printed)["actions"]
    return actions


async def test_an_action_is_found_by_each_of_its_names(topics: Make) -> None:
    """By actionId, its place, and the place or id of its email: where it is, what was decided and why."""
    live = await topics()
    places = await live.act(action(number) for number in range(1, 6))
    await live.mail((number, place) for number, place in enumerate(places, 1) if number < 5)
    await live.settle_all()
    partition, offset = places[2]
    (found,) = await traced(live, 3)
    assert (found["state"], found["action_id"], found["org_id"]) == ("emailed", 3, 310)
    assert (found["topic"], found["partition"], found["offset"]) == (live.names.actions, partition, offset)
    (email,) = found["emails"]
    assert (email["variant"], email["reason"], email["lookup"]) == ("two_button", "no_lookup", None)
    assert email["decided_at"].startswith("2023-11-14T")
    where = f"{live.names.emails}/{email['partition']}/{email['offset']}"
    for name in (f"{live.names.actions}:{partition}:{offset}", where, found["email_id"].upper()):
        assert await traced(live, name) == [found]
    shown = (await streams(live, "trace", "3")).stdout
    assert f"{live.names.actions}/{partition}/{offset}  actionId 3  organisation 310" in shown
    assert "two_button, no_lookup (no lookup was asked)" in shown
    assert f"email {where}  id {found['email_id']}" in shown
    (missing,) = await traced(live, 5, code=1)
    assert (missing["state"], missing["settled"], missing["emails"]) == ("missing", True, [])
    await resend(live.installation, AuditRange(), await audit(live.installation, AuditRange()))
    (resent,) = await traced(live, 5)
    assert (resent["state"], resent["emails"][0]["resent"]) == ("emailed", True)


async def test_an_action_that_was_passed_over_names_the_email_that_the_other_one_had(topics: Make) -> None:
    """Within the window for duplicates it is nobody's fault that it has no email: exit code 0."""
    live = await topics()
    first, second = await live.act([action(1)] * 2)
    await live.mail([(1, first)])
    marks = marks_topic(live.installation.group)
    await make_topics(live.servers, 2, marks, cleanup_policy="compact,delete")
    own, others = (EmailWriter(live.names.actions, place[0]).id_of(place[1]) for place in (second, first))
    async with producing(live.servers) as producer:
        await producer.send_and_wait(
            marks, others.encode(), key=PASSED_OVER + own.encode(), partition=second[0]
        )
    await live.settle_all()
    found = await traced(live, 1)
    assert {each["state"] for each in found} == {"emailed", "passed_over"}
    (passed,) = (each for each in found if each["email_id"] == own)
    assert passed["passed_over_for"] == others
    assert f"had the email {others} shortly before" in (await streams(live, "trace", "1")).stdout


async def test_why_there_is_no_email_is_said(topics: Make) -> None:
    """Ignored, in flight, dead, twice there, not there at all: each with its own state and exit code."""
    live = await topics(partitions=1)
    no_address = {**action(3), "contact": {"contactRef": "x"}}
    documents = [
        action(1),
        {**action(2), "stage": "deliver"},
        no_address,
        b'{"actionId": 4, "stage',
        action(5),
    ]
    places = await live.act(documents)
    await live.mail([(1, places[0]), (1, places[0])])
    await live.bury(places[2], b"{}", ErrorClass.FIELD_MISSING, "$.contact.email")
    await live.settle({0: (4, [])})
    assert [each["state"] for each in await traced(live, 1, code=1)] == ["doubled"]
    (ignored,) = await traced(live, 2)
    assert (ignored["state"], ignored["ignored"]) == ("ignored", "stage")
    (dead,) = await traced(live, 3, code=1)
    assert (dead["state"], dead["error_class"]) == ("dead_lettered", "field_missing")
    assert dead["dead_letters"][0]["json_path"] == "$.contact.email"
    by_letter = f"{live.names.dead_letters}:0:{dead['dead_letters'][0]['offset']}"
    assert await traced(live, by_letter, code=1) == [dead]
    (damaged,) = await traced(live, 4, code=1)
    assert (damaged["state"], damaged["error_class"]) == ("missing", "not_json")
    (waiting,) = await traced(live, 5)
    assert (waiting["state"], waiting["committed_offset"]) == ("in_flight", 4)
    assert await traced(live, 6, code=1) == []
    for wrong, sentence in (
        (f"{live.names.actions}:0:9", "its log ends before"),
        (f"{live.names.emails}:0:9", "there is no record at"),
        ("elsewhere:0:0", "is none of this installation's topics"),
        ("00000000-0000-5000-8000-000000000000", "has an email with this id"),
    ):
        with pytest.raises(NotTraceable, match=sentence):
            await traced(live, wrong)


async def test_a_rekeyed_action_and_a_retried_one_are_followed(topics: Make) -> None:
    """Through the internal topic to its email; from a dead letter to its retry, and from there back."""
    live = await topics()
    key, value = keyed(action(1))
    there = partition_of(key, live.partitions)
    async with producing(live.servers) as producer:
        here = await producer.send_and_wait(live.names.actions, value, key=key, partition=1 - there)
        headers = [(REKEYED_FROM, b"%d/%d" % (here.partition, here.offset))]
        moved = await producer.send_and_wait(
            live.names.rekeyed, value, key=key, partition=there, headers=headers
        )
    await live.settle_all()
    (waiting,) = await traced(live, 1)
    assert (waiting["state"], waiting["rekeyed"]["settled"]) == ("in_flight", False)
    assert await traced(live, f"{live.names.rekeyed}/{there}/{moved.offset}") == [waiting]
    await live.settle({there: (moved.offset + 1, [])}, live.names.rekeyed)
    await live.mail([(1, (here.partition, here.offset))])
    (found,) = await traced(live, 1)
    assert (found["state"], found["rekeyed"]["offset"]) == ("emailed", moved.offset)

    damaged = b'{"stage": "supporter_confirm", "actionId": 2, "orgId": 310, "contact": 1}'
    ((partition, offset),) = await live.act([damaged])
    await live.bury((partition, offset), damaged, ErrorClass.FIELD_TYPE, "$.contact")
    await retry(live.installation, (), None)
    both = await traced(live, f"{live.names.actions}:{partition}:{offset}", code=1)
    first, second = sorted(both, key=lambda each: each["retry_of"] is not None)
    assert first["dead_letters"] == [{**first["dead_letters"][0], **second["retry_of"]}]
    assert [second["offset"]] == [each["offset"] for each in first["retried_as"]]
    assert await traced(live, f"{live.names.actions}:{partition}:{second['offset']}", code=1) == both


async def test_a_time_bounds_what_is_read(topics: Make) -> None:
    """With --from and --to only the actions of that time are read; an offset is no time."""
    live = await topics(partitions=1)
    now = int(time.time() * 1000)
    async with producing(live.servers) as producer:
        for number in range(1, 9):
            key, value = keyed(action(number))
            await producer.send(
                live.names.actions, value, key=key, timestamp_ms=now - (9 - number) * 3_600_000
            )
        await producer.flush()
    await live.mail((number, (0, number - 1)) for number in range(1, 9))
    await live.settle_all()

    async def read(*arguments: str) -> tuple[int, int]:
        result = await streams(live, "trace", *arguments, "--json")
        found = document("trace", result.stdout)
        assert result.exit_code == (0 if found["actions"] else 1)
        return len(found["actions"]), found["records_read"]

    every_email = 8  # they are written now, after their actions
    assert await read("7") == (1, 8 + every_email)
    assert await read("7", "--from", "-150m", "--to", "-90m") == (1, 1 + every_email)
    assert await read("7", "--to", "-150m") == (0, 6 + every_email)  # its email is that of a later action
    for wrong in (["--from", "12"], ["--from", "-1h", "--to", "-2h"]):
        assert (await streams(live, "trace", "7", *wrong)).exit_code == 2
    nothing = await streams(live, "trace", "elsewhere:0:0")
    assert (nothing.exit_code, nothing.stderr.startswith("Error: elsewhere is none of")) == (1, True)


async def test_what_is_no_longer_kept_is_said(topics: Make) -> None:
    """An email outlives its action, and is found by its id; of an action without its email nobody knows."""
    live = await topics(partitions=1)
    places = await live.act(action(number) for number in (1, 2))
    await live.mail([(1, places[0]), (2, places[1])])
    await live.settle_all()
    id_of = EmailWriter(live.names.actions, 0).id_of
    await live.forget(live.names.actions, {0: 1})
    (found,) = await traced(live, id_of(0))
    assert (found["state"], found["time"], len(found["emails"])) == ("emailed", None, 1)
    assert await traced(live, 1) == [found]
    await live.forget(live.names.emails, {0: 2})
    (gone,) = await traced(live, id_of(0), code=3)
    assert gone["state"] == "gone"
    (expired,) = await traced(live, 2, code=3)
    assert expired["state"] == "expired"
