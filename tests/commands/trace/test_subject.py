"""What a trace can be asked about, and what its findings come to."""

import pytest

from streams.commands.action_content import HasActionId, content_of
from streams.commands.command_line import FAILED, NO_ANSWER
from streams.commands.dead_letters.letters import DeadLetter
from streams.commands.topic_reader import RecordId
from streams.commands.trace.email import FoundEmail
from streams.commands.trace.outcome import State, Traced, TraceResult
from streams.commands.trace.subject import ALLOWED, ActionNumber, EmailId, Place, Subject, subject_of
from tests.integration.topics import action, keyed

EMAIL_ID = "6ba7b810-9dad-51d1-80b4-00c04fd430c8"


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("7001", ActionNumber(7001)),
        ("actions:3:77", Place("actions", RecordId(3, 77))),
        ("a-b_c.d/0/0", Place("a-b_c.d", RecordId(0, 0))),
        (EMAIL_ID.upper(), EmailId(EMAIL_ID)),
    ],
)
def test_a_subject_is_read(text: str, subject: Subject) -> None:
    """A number, a place with colons or slashes, the id of an email in either case."""
    assert subject_of(text) == subject


@pytest.mark.parametrize(
    "text", ["", "x", "7e3", "actions:3", "actions:3/77", ":3:77", "a b:1:2", EMAIL_ID[:-1]]
)
def test_anything_else_is_refused(text: str) -> None:
    """The sentence says what is allowed."""
    with pytest.raises(ValueError, match="an actionId") as refused:
        subject_of(text)
    assert str(refused.value) == ALLOWED


@pytest.mark.parametrize(
    ("value", "has_it"),
    [
        (keyed(action(12))[1], True),
        (keyed(action(12, stage="deliver"))[1], True),
        (b'{"actionId": 12, "stage": 1}', True),
        (b'{"stage": "x", "actionId" : 12, ', True),
        (keyed(action(120))[1], False),
        (keyed(action(1, comment="actionId 12"))[1], False),
        (b'{"stage": "supporter_confirm", "actionId": "12"}', False),
        (b'{"actionId": 12.5, ', False),
        (b"12", False),
        (None, False),
    ],
)
def test_an_action_id_is_seen_where_no_email_comes_of_it(value: bytes | None, has_it: bool) -> None:
    """In an action, an ignored one, a dead letter, and damaged JSON; never in another number or a text."""
    assert HasActionId(12, None)(value) is has_it


def test_content_names_nobody() -> None:
    """Numbers, the key to look for its status, or why there is no email: never an address."""
    key, value = keyed(action(12))
    assert content_of(value, None)[:3] == (12, 310, key)
    assert content_of(None, None).ignored == "tombstone"
    assert content_of(b"[]", None).error_class == "not_an_object"


def test_what_is_found_comes_to_one_state() -> None:
    """Settled or not, hidden, expired, gone; two of anything is a double."""
    content = content_of(keyed(action(1))[1], None)
    traced = Traced(RecordId(0, 1), 0, EMAIL_ID, content, timestamp=1_000)
    assert traced.state is State.IN_FLIGHT
    traced.is_settled = True
    assert traced.state is State.MISSING
    traced.kept_since = 2_000
    assert traced.state is State.EXPIRED
    traced.is_hidden = True
    assert traced.state is State.HELD_BACK
    letter = DeadLetter(RecordId(0, 0), "actions", traced.id, "too_large", "$", 1_500, 3, shortened=False)
    traced.dead_letters = [letter, letter]
    assert traced.state is State.DEAD_LETTERED
    traced.unreadable = "damaged"
    assert Traced(RecordId(0, 1), 0, EMAIL_ID, unreadable="damaged").state is State.UNREADABLE
    assert Traced(RecordId(0, 1), 0, EMAIL_ID).state is State.GONE


def test_the_worst_action_decides_the_exit_code() -> None:
    """Nothing found is bad; a bad answer comes before none; a letter that was retried well is none."""
    content = content_of(keyed(action(1))[1], None)
    waiting = Traced(RecordId(0, 1), 0, EMAIL_ID, content, timestamp=1_000)
    missing = Traced(RecordId(0, 2), 0, EMAIL_ID, content, timestamp=1_000, is_settled=True)
    gone = Traced(RecordId(0, 3), 0, EMAIL_ID)
    assert TraceResult([]).exit_code == FAILED
    assert TraceResult([waiting]).exit_code == 0
    assert TraceResult([waiting, gone]).exit_code == NO_ANSWER
    assert TraceResult([gone, missing]).exit_code == FAILED
    dead = Traced(RecordId(0, 4), 0, EMAIL_ID, content)
    dead.dead_letters = [
        DeadLetter(RecordId(0, 0), "actions", dead.id, "too_large", "$", 0, 0, shortened=False)
    ]
    assert TraceResult([dead]).exit_code == FAILED
    email = FoundEmail(RecordId(0, 0), 0, "two_button", "no_lookup", "", None, None, is_resent=False)
    retried = Traced(RecordId(0, 5), 0, EMAIL_ID, content, emails=[email])
    dead.retried_as = [retried.id]
    assert TraceResult([dead, retried]).exit_code == 0


@pytest.mark.parametrize(("last_offset", "inside"), [(None, {5}), (7, {5, 6, 7})])
def test_a_dead_letter_may_stand_for_a_batch(last_offset: int | None, inside: set[int]) -> None:
    """One of a single record is of its place alone; another epoch or partition is another record."""
    letter = DeadLetter(
        RecordId(0, 0), "actions", RecordId(1, 5), "unreadable", "$", 0, 0, False, 2, last_offset
    )
    assert {offset for offset in range(10) if letter.is_of(RecordId(1, offset), 2)} == inside
    assert not letter.is_of(RecordId(1, 5), 0)
    assert not letter.is_of(RecordId(0, 5), 2)
