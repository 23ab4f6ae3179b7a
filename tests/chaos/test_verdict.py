"""The verdict on small histories written by hand: what it must see, and what it must not."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from streams.messages.decode import Undecodable, decode_action
from tests.chaos.feed import message
from tests.chaos.load import KNOWN, POISON, plan, serial_in, subscribed
from tests.chaos.verdict import Ledgers, Produced, Sample, Verdict, _id_of

TOPIC = "actions"
SERIALS = 60


def _known(serial: int) -> bool:
    return plan(serial).supporter < KNOWN


def email(serial: int, offset: int, **more: object) -> bytes:
    """What a faithful worker writes for a serial that lies at `offset` of partition 0."""
    supporter = plan(serial).supporter
    yes = subscribed(supporter)
    reason = ("known" if _known(serial) else "lookup") + ("_subscribed" if yes else "_not_subscribed")
    return orjson.dumps(
        {
            "id": _id_of(f"{TOPIC}/0/{offset}"),
            "variant": "one_button" if yes else "two_button",
            "reason": reason,
            "actionId": plan(serial).action_id,
            "action": orjson.loads(message(serial)[1]),
            **more,
        }
    )


def judged(
    emails: list[tuple[int, int, bytes]],
    produced: Produced = Produced.OK,
    actions: range = range(4),
    samples: tuple[Sample, ...] = (),
) -> Verdict:
    """The verdict on actions at offsets of their serials, and (partition, offset, value) emails."""
    ledgers = Ledgers(TOPIC, SERIALS, 2)
    for serial in range(4):
        ledgers.produced[serial] = produced
    for serial in actions:
        ledgers.action(0, serial, message(serial)[1])
    for partition, offset, value in emails:
        ledgers.email(partition, offset, value)
    ledgers.samples = list(samples)
    return ledgers.verdict()


def acted(*serials: int) -> Ledgers:
    """These actions are in the one partition, and nothing has become of them yet."""
    ledgers = Ledgers(TOPIC, max(SERIALS, *serials) + 1, 1)
    for offset, serial in enumerate(serials):
        ledgers.produced[serial] = Produced.OK
        ledgers.action(0, offset, message(serial)[1])
    return ledgers


def faithful(*serials: int) -> list[tuple[int, int, bytes]]:
    """One email for each, in this order."""
    return [(0, at, email(serial, serial)) for at, serial in enumerate(serials)]


def test_one_email_each_in_any_order_is_clean() -> None:
    """Four actions with an email each are four of four, also when emails of different people overtake."""
    verdict = judged(faithful(2, 0, 3, 1))
    assert (verdict.actions, verdict.emails, verdict.clean) == (4, 4, True)


def test_a_missing_and_a_doubled_email_do_not_cancel_out() -> None:
    """Four emails for four actions are not clean when one is there twice."""
    verdict = judged(faithful(0, 1, 2, 2))
    assert (verdict.emails, verdict.missing, verdict.doubled, verdict.clean) == (4, 1, 1, False)


def test_a_repeated_action_id_is_owed_an_email_of_its_own() -> None:
    """Serial 49 repeats the actionId of serial 0; without its own email it is missing."""
    assert plan(49).action_id == plan(0).action_id
    ledgers = acted(0, 49)
    ledgers.email(0, 0, email(0, 0))
    assert ledgers.verdict().missing == 1


def test_an_email_for_an_action_that_is_not_in_the_log_is_wrong() -> None:
    """An email without its action is counted as out of nothing."""
    verdict = judged(faithful(0, 1), actions=range(1), produced=Produced.UNKNOWN)
    assert verdict.wrong == {"out of nothing": 1}


@pytest.mark.parametrize(
    ("produced", "actions", "wrong"),
    [
        (Produced.OK, range(3), {"feed: acknowledged and not there": 1}),
        (Produced.FAILED, range(3), {"feed: failed and there": 3}),
        (Produced.UNKNOWN, range(3), {}),
    ],
)
def test_acknowledged_failed_and_unknown_are_told_apart(
    produced: Produced, actions: range, wrong: dict[str, int]
) -> None:
    """Acknowledged must be there, failed must not, unknown may."""
    verdict = judged(faithful(*actions), produced=produced, actions=actions)
    assert dict(verdict.wrong) == wrong
    assert (verdict.missing, verdict.doubled) == (0, 0)


def test_what_the_input_has_twice_is_owed_two_emails() -> None:
    """Two records are two actions, whatever the producer meant; but the run is not clean."""
    ledgers = acted(0, 0)
    for offset in range(2):
        ledgers.email(0, offset, email(0, offset))
    verdict = ledgers.verdict()
    assert (verdict.missing, verdict.doubled) == (0, 0)
    assert dict(verdict.wrong) == {"feed: there twice": 1}


def test_a_status_may_be_unknown_while_a_store_is_away_but_no_consent_is_guessed() -> None:
    """A subscriber gets two buttons then, and the email is counted; a known status must choose its letter."""
    serial = next(number for number in range(4) if _known(number) and subscribed(plan(number).supporter))
    others = [each for each in range(4) if each != serial]
    for reason, wrong in (("lookup_failed", {}), ("known_subscribed", {"wrong letter": 1})):
        ledgers = acted(*range(4))
        ledgers.store_was_away = True
        changed = email(serial, serial, variant="two_button", reason=reason)
        for partition, offset, value in [*faithful(*others), (0, 3, changed)]:
            ledgers.email(partition, offset, value)
        verdict = ledgers.verdict()
        assert (dict(verdict.wrong), verdict.not_known) == (wrong, 0 if wrong else 1)


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"id": _id_of("actions/0/77")}, "wrong id"),
        ({"variant": "one_button"}, "wrong letter"),
        ({"reason": "lookup_failed"}, "status not known"),
        ({"actionId": 77}, "wrong actionId"),
    ],
)
def test_an_email_that_is_not_the_right_one_is_wrong(more: dict[str, object], wrong: str) -> None:
    """Another place's id, a letter that the status forbids, a status overlooked, another actionId."""
    serial = next(number for number in range(4) if _known(number) and not subscribed(plan(number).supporter))
    others = [each for each in range(4) if each != serial]
    verdict = judged([*faithful(*others), (0, 3, email(serial, serial, **more))])
    assert dict(verdict.wrong) == {wrong: 1}


def test_an_email_in_another_partition_is_wrong() -> None:
    """An email belongs into the partition of its action."""
    verdict = judged([*faithful(0, 1, 2), (1, 0, email(3, 3))])
    assert dict(verdict.wrong) == {"wrong partition": 1}


def test_emails_of_one_known_supporter_keep_the_order_of_the_actions() -> None:
    """Serials 0 and 49 are of one known supporter: the later action's email must not come first."""
    assert _known(0)
    ledgers = acted(0, 49)
    for at, (offset, serial) in enumerate(((1, 49), (0, 0))):
        ledgers.email(0, at, email(serial, offset))
    assert dict(ledgers.verdict().wrong) == {"out of order": 1}


def test_a_commit_that_passed_an_action_before_its_email_was_written_is_seen() -> None:
    """Committed offset 3 while the log of emails had two: the third one's came too late, if it came."""
    in_time, too_early = Sample(0, 3, 3), Sample(0, 3, 2)
    assert judged(faithful(0, 1, 2, 3), samples=(in_time,)).clean
    assert dict(judged(faithful(0, 1, 2, 3), samples=(too_early,)).wrong) == {"commit before its email": 1}


def test_poison_of_each_kind_has_its_serial_and_no_email_can_be_made_from_it() -> None:
    """The worker's own decoder refuses all ten kinds, so that each is owed a dead letter."""
    assert len(set(POISON)) == 10
    for kind in POISON:
        assert serial_in(kind % 4_998) == 4_998
        with pytest.raises(Undecodable):
            decode_action(kind % 4_998)


def test_poison_is_owed_one_dead_letter_and_no_email() -> None:
    """Without its dead letter a poison record is missing; with two it is doubled."""
    serial = 4_998
    seen = []
    for copies in range(3):
        ledgers = acted(serial)
        for _ in range(copies):
            ledgers.dead_letter(message(serial)[1])
        seen.append(dict(ledgers.verdict().wrong))
    assert seen == [{"dead letter missing": 1}, {}, {"dead letter doubled": 1}]


def test_the_verdict_knows_nothing_of_the_app() -> None:
    """Reading and judging import nothing of what they judge."""
    code = (
        "import sys, tests.chaos.verdict, tests.chaos.reading;"
        "sys.exit(any(name.split('.')[0] == 'streams' for name in sys.modules))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
