"""The native pass and the path in Python come to the same, and what is usual is passed over natively."""

from __future__ import annotations

import json
import random
import struct
import sys
import time
from collections.abc import Iterable, Iterator

import pytest
from aiokafka.record.control_record import ABORT_MARKER
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.actions.outcomes import Emailed, Ignored
from streams.native.email_batch import EmailBatch
from streams.native.email_pass import Stop, Why
from tests import examples
from tests.fuzz.mutations import ACTIONS, Sent, good_action, strange
from tests.fuzz.wire import CODECS, batches
from tests.native.both_paths import by_python, differences, natively
from tests.native.built import NOW_MS, KnownStatuses, counted, key_of, library, native_pass

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AT = 1_780_000_000_000
ASKS = json.loads(examples.valid("action")["bare-minimum"])


def sent(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = b"k") -> Sent:
    return Sent(AT, key, value, [*headers])


def action(**more: object) -> bytes:
    return json.dumps(ASKS | more).encode()


def known(values: Iterable[bytes | None]) -> KnownStatuses:
    """The statuses of all who act: about half of them subscribers."""
    statuses = KnownStatuses()
    statuses.know(values, lambda key: key[-1] % 2 == 0)
    return statuses


def why_not(value: bytes, *headers: tuple[str, bytes | None]) -> str | None:
    """Why an action whose status is known is not usual; None: it is. Both paths come to the same."""
    log = batches([sent(value, *headers)], 10, 0, 1)
    statuses = known([value])
    assert differences(log, statuses) == []
    whys = natively(log, statuses).whys
    return next(iter(whys), None)


# -- every example ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", range(5))
def test_every_example_comes_to_the_same_on_both_paths(codec: int) -> None:
    """Emails (key, value, headers, timestamp), dead letters, outcomes: all examples, indented or not."""
    values = [*ACTIONS]
    for value in ACTIONS:
        try:
            values.append(json.dumps(json.loads(value), separators=(",", ":"), ensure_ascii=False).encode())
        except (ValueError, UnicodeEncodeError):
            continue
    log = batches([sent(value, ("traceparent", TRACE)) for value in values], 1_000, codec, 17)
    for statuses in (known(values), KnownStatuses()):
        assert differences(log, statuses) == []


def test_most_examples_that_are_valid_are_usual() -> None:
    """What is called usual is what campaigns send: no more than one valid example in five is not."""
    values = [*examples.valid("action").values()]
    judged = natively(batches([sent(value) for value in values], 0, 0, 50), known(values))
    assert judged.natively > 0.8 * len(values)


# -- one record ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (action(), None),
        (action(actionId=-5), None),
        (action(actionId=10**17), None),
        (action(actionId=10**18), "VALUE"),
        (action(actionId=7.0), "VALUE"),
        (action(actionId=True), "VALUE"),
        (action(orgId="310"), "VALUE"),
        (action(contact=[]), "VALUE"),
        (action(contact={"contactRef": "a", "email": "b@example.org", "ref": None}), None),
        (action(contact={"contactRef": None, "email": "b@example.org", "ref": "older"}), None),
        (action(contact={"contactRef": "", "email": "b@example.org", "ref": "older"}), None),
        (action(contact={"contactRef": " a", "email": "b@example.org"}), "VALUE"),
        (action(contact={"contactRef": "é", "email": "b@example.org"}), "VALUE"),
        (action(contact={"contactRef": "a", "email": ""}), "VALUE"),
        (action(contact={"contactRef": "a", "email": 'q"@example.org'}), "VALUE"),
        (action(contact={"contactRef": "r" * 600, "email": "b@example.org"}), "SIZE"),
        (action(stage="deliver"), None),
        (action(stage="deliver", contact=7, actionId="x"), None),
        (action(stage=""), "VALUE"),
        (action(stage=None), "VALUE"),
        (action(privacy=None), None),
        (action(privacy={"withConsent": True}), None),
        (action(privacy={"withConsent": False}), None),
        (action(privacy={"withConsent": False}, contact=7), None),
        (action(privacy={"withConsent": "false"}), None),
        (action(privacy=[]), "VALUE"),
        (action(x=[[[{}]]] * 9), None),
        (action(x=json.loads("[" * 65 + "]" * 65)), "VALUE"),
        (action()[:-1] + b',"x":1e999}', None),
        (action()[:-1] + b',"x":-0.0E-7}', None),
        (action()[:-1] + b',"x":%b}' % (b"7" * 1_001), "VALUE"),
        (action()[:-1] + b',"x":01}', "VALUE"),
        (action()[:-1] + b',"x":"\xc3\xa9\\u00e9\\n"}', None),
        (action()[:-1] + b',"x":"\xff"}', "VALUE"),
        (action()[:-1] + b',"x":"\xed\xa0\x80"}', "VALUE"),
        (action()[:-1] + b',"x":"\\ud83d\\ude00"}', "VALUE"),
        (action()[:-1] + b',"\\u006frgId":1}', "VALUE"),
        (action()[:-1] + b',"orgId":310}', "VALUE"),
        (action()[:-1] + b',"orgId":null}', "VALUE"),
        (action()[:-1] + b',"x":1,"x":2}', None),
        (action()[:-1] + b',"x":"\t"}', "VALUE"),
        (action()[:-1] + b",}", "VALUE"),
        (action() + b" \n\r\t", None),
        (action() + b"\0", "VALUE"),
        (b"\xef\xbb\xbf" + action(), "VALUE"),
        (b"", "VALUE"),
        (b"{}", "VALUE"),
        (b"null", "VALUE"),
    ],
)
def test_what_is_usual_is_strict(value: bytes, why: str | None) -> None:
    """Doubt about JSON, a deciding field or its text leaves an action to the path in Python."""
    assert why_not(value) == why


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([], None),
        ([("traceparent", TRACE), ("tracestate", b"a=b")], None),
        ([("tracestate", b""), ("x", None), ("traceparent", "é".encode())], None),
        ([("x\udcff", b"y"), ("traceparent", TRACE)], None),
        ([("traceparent", TRACE), ("traceparent", TRACE)], "TRACE"),
        ([("traceparent", None)], "TRACE"),
        ([("tracestate", b"\xff")], "TRACE"),
    ],
)
def test_a_trace_context_that_is_plain_text_goes_along(
    headers: list[tuple[str, bytes | None]], why: str | None
) -> None:
    """Its headers stand in the email in the order of the action; all others stay behind."""
    assert why_not(action(), *headers) == why


def test_a_stage_for_repeat_signers_is_left_to_python() -> None:
    """Where a stage is set at which repeat signers get an email, its actions are not usual."""
    value = action(stage="deliver", contact={"contactRef": "a", "email": "b@example.org", "dupeRank": 1})
    run = native_pass(batches([sent(value)], 0, 0, 1), known([value]), repeats_at="deliver")
    assert (run.go_on(), run.why) == (Stop.RECORD, Why.VALUE)


def test_a_record_that_is_not_usual_is_handed_over_as_it_is() -> None:
    """Offset, timestamp, key, value and headers, also a null and a name that is not UTF-8."""
    headers = [("n\udce4me", b"\xff"), ("", b""), ("x", None)]
    run = native_pass(batches([sent(b"[]", *headers, key=None)], 41, 0, 1), KnownStatuses())
    assert (run.go_on(), run.why) == (Stop.RECORD, Why.VALUE)
    assert run.unusual() == (41, AT, None, b"[]", headers)
    assert run.next_offset == 42
    assert run.go_on() is Stop.END


def test_a_missing_status_stops_the_pass_at_its_record() -> None:
    """The pass stops at the first record that is not usual, and goes on behind it."""
    values = [good_action(number).value for number in range(5)]
    statuses = known(value for at, value in enumerate(values) if at != 2)
    run = native_pass(batches([sent(value) for value in values], 100, 0, 5), statuses)
    assert (run.go_on(), run.why, run.unusual().offset) == (Stop.RECORD, Why.STATUS, 102)
    assert counted(run)[0].total() == 2
    assert (run.go_on(), run.next_offset) == (Stop.END, 105)
    assert counted(run)[0].total() == 2


@pytest.mark.parametrize(
    ("org_id", "reason"),
    [(2, "lookup_failed"), (3, "no_lookup"), (310, None)],
    ids=["its breaker is open", "it has no lookup", "it may be probed"],
)
def test_a_missing_status_is_decided_natively_where_nobody_is_asked(org_id: int, reason: str | None) -> None:
    """While its breaker is open, or where there is no lookup; an action that may probe a service is left."""
    values = [action(orgId=org_id, actionId=number) for number in range(4)]
    log, statuses = batches([sent(value) for value in values], 0, 0, 4), KnownStatuses()
    assert differences(log, statuses) == []
    judged = natively(log, statuses)
    assert (judged.natively, judged.whys) == ((4, {}) if reason else (0, {"STATUS": 4}))
    assert {outcome.reason for outcome in judged.outcomes} == {reason or "lookup_failed"}


def test_a_status_that_the_index_gave_up_is_read_in_the_table() -> None:
    """A cache that is too small, or not filled yet, costs no stop, and changes no letter."""
    values = [good_action(number).value for number in range(40)]
    statuses = known(values)
    statuses.native.forget_all()
    log = batches([sent(value) for value in values], 0, 0, 40)
    assert differences(log, statuses) == []
    assert natively(log, statuses).natively == 40


def test_an_action_whose_status_cannot_be_read_is_left_to_python() -> None:
    """An error on the way to the status ends no pass: the path in Python meets it at that record, too."""

    def fails(*_: object) -> None:
        raise RuntimeError("no table")

    statuses, value = KnownStatuses(), good_action(1).value
    log = batches([sent(value), sent(None)], 0, 0, 2)
    run = native_pass(log, statuses, without_asking=fails)
    assert (run.go_on(), run.why, run.go_on()) == (Stop.RECORD, Why.STATUS, Stop.END)


def test_what_is_forgotten_between_two_steps_is_not_known_in_the_second() -> None:
    """Statuses that are forgotten while a pass waits, or whose store is away, are missing then."""
    values = [good_action(1).value, b"{}", good_action(1).value]
    statuses = known(values)
    log = batches([sent(value) for value in values], 0, 0, 5)
    run = native_pass(log, statuses)
    assert (run.go_on(), run.why) == (Stop.RECORD, Why.VALUE)
    statuses.away = True  # the store, whose rows then count as missing
    assert (run.go_on(), run.why, run.unusual().offset) == (Stop.RECORD, Why.STATUS, 2)
    for begin, status in ((2, Stop.RECORD), (3, Stop.END)):
        run = native_pass(log, statuses, next_offset=begin)
        assert run.go_on() is status
    statuses.away = False
    assert native_pass(log, statuses, next_offset=2).go_on() is Stop.END
    statuses.native.forget_all()
    statuses.rows.clear()
    assert native_pass(log, statuses, next_offset=2).go_on() is Stop.RECORD


# -- counting --------------------------------------------------------------------------------------------


def test_everything_is_counted_by_letter_reason_and_organisation() -> None:
    """Emails by letter, reason and orgId; records that ask for none by their reason; delays by timestamp."""
    statuses = KnownStatuses()
    values: list[bytes | None] = [
        action(orgId=org, contact={"contactRef": "a", "email": "b"}) for org in (1, 2, 2)
    ]
    statuses.put(b"1:a", True)
    statuses.put(b"2:a", False)
    values += [None, action(stage="x"), action(privacy={"withConsent": False})]
    run = native_pass(batches([sent(value) for value in values], 0, 0, 9), statuses)
    assert run.go_on() is Stop.END
    outcomes, timestamps = counted(run)
    assert outcomes == {
        Emailed("one_button", "known_subscribed", "", "", 1): 1,
        Emailed("two_button", "known_not_subscribed", "", "", 2): 2,
        Ignored("tombstone"): 1,
        Ignored("stage"): 1,
        Ignored("no_consent"): 1,
    }
    assert timestamps == {AT: 3}
    assert counted(run) == ({}, {})


def test_what_was_fetched_is_given_back_at_the_end() -> None:
    """A partition without new actions holds no memory of the last ones, which can still be counted."""
    value = good_action(1).value
    log = batches([sent(value)], 0, 0, 1)
    before = sys.getrefcount(log)
    run = native_pass(log, known([value]))
    assert run.go_on() is Stop.END
    assert sys.getrefcount(log) > before
    run.end()
    assert sys.getrefcount(log) == before
    assert counted(run)[0].total() == 1


@pytest.mark.parametrize("most_records", [0, 3, 1_024, 1 << 20])
def test_more_organisations_and_timestamps_than_there_is_room_for_are_counted_too(most_records: int) -> None:
    """The pass stops for its counts to be taken, and none is lost."""
    values = [action(orgId=org - 500, contact={"contactRef": "a", "email": "b"}) for org in range(1_000)]
    statuses = known(values)
    for step in (0, 1):
        records = [Sent(AT + step * at, None, value, []) for at, value in enumerate(values * 2)]
        assert differences(batches(records, 0, 0, 400), statuses, most_records=most_records) == []


def test_emails_that_never_fit_fill_no_table() -> None:
    """A pass stops at each of them, and never for room in an empty batch: its lane would try for ever."""
    values = [action(orgId=org, x="y" * 1_000) for org in range(1_100)]
    log = batches([Sent(AT + at, None, value, []) for at, value in enumerate(values)], 0, 0, 400)
    run = native_pass(log, known(values), batch=EmailBatch(library(), 700))
    for _ in values:
        assert (run.go_on(), run.why) == (Stop.RECORD, Why.SIZE)
    assert run.go_on() is Stop.END


# -- batches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("room", "most_emails"), [(700, 1 << 31), (3_000, 1 << 31), (900_000, 3)])
def test_a_full_batch_is_taken_away_and_the_pass_goes_on(room: int, most_emails: int) -> None:
    """However small a batch is, or few emails it may have, each email is written once and in order."""
    values = [good_action(number).value for number in range(20)] + [action(x="y" * 2_500)]
    log = batches([sent(value) for value in values], 0, 0, 7)
    statuses = known(values)
    assert differences(log, statuses, room=room, most_emails=most_emails) == []


def test_what_lies_before_the_next_offset_is_passed_over() -> None:
    """A fetch from the middle of a batch brings the whole batch: its first records are not done again."""
    values = [good_action(number).value for number in range(10)]
    log = batches([sent(value) for value in values], 50, 0, 4)
    for begin in (0, 50, 53):
        assert differences(log, known(values), next_offset=begin) == []
    for begin in (53, 54, 59, 60):  # also where a whole batch lies before it
        judged = natively(log, known(values), next_offset=begin)
        assert [email[0] for email in judged.emails] == [key_of(value) for value in values[begin - 50 :]]


def test_a_batch_that_is_cut_off_ends_the_pass() -> None:
    """A later batch that the answer has only a part of belongs to the next answer; a first one is damaged."""
    values = [good_action(number).value for number in range(6)]
    log = batches([sent(value) for value in values], 0, 0, 3)
    first = 12 + struct.unpack_from(">i", log, 8)[0]
    for end in range(first, len(log), 7):
        run = native_pass(log[:end], known(values))
        assert (run.go_on(), run.next_offset) == (Stop.END, 3)
    for end in range(1, first, 7):
        assert differences(log[:end], known(values)) == []


def _as_transaction(batch: bytes, producer_id: int, attributes: int) -> bytes:
    raw = bytearray(batch)
    struct.pack_into(">h", raw, 21, struct.unpack_from(">h", raw, 21)[0] | attributes)
    struct.pack_into(">q", raw, 43, producer_id)
    struct.pack_into(">I", raw, 17, calc_crc32c(memoryview(raw)[21:]))
    return bytes(raw)


def marker(offset: int, producer_id: int, kind: int) -> bytes:
    key = struct.pack(">hh", ABORT_MARKER.version, kind)
    return _as_transaction(batches([Sent(AT, key, b"\0" * 6, [])], offset, 0, 1), producer_id, 0x30)


@given(st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_aborted_transactions_between_others_get_no_email(dice: random.Random) -> None:
    """Transactions of several producers, committed and aborted, open at once, in batches of every codec."""
    log, offset, open_ones, aborted, values = b"", 0, {}, [], []
    for _ in range(dice.randrange(1, 25)):
        producer = dice.randrange(3)
        if producer in open_ones and dice.random() < 0.5:
            kind = dice.randrange(2)
            if kind == 0:
                aborted.append((producer, open_ones.pop(producer)))
            else:
                open_ones.pop(producer)
            log += marker(offset, producer, kind)
            offset += 1
            continue
        some = [good_action(dice.randrange(50)).value for _ in range(dice.randrange(1, 4))]
        values += some
        batch = batches([sent(value) for value in some], offset, dice.choice(CODECS), 9)
        if dice.random() < 0.7:
            open_ones.setdefault(producer, offset)
            batch = _as_transaction(batch, producer, 0x10)
        log += batch
        offset += len(some)
        if dice.random() < 0.1:  # what is left is read by the path in Python, with what is still aborted
            log += b"\0" * 8 + struct.pack(">i", 60) + b"\1" * 60
    aborted += open_ones.items()
    statuses = known(values)
    assert differences(log, statuses, aborted) == []


@pytest.mark.parametrize("producers", [1, 3_000], ids=["one after the other", "all open at once"])
def test_many_aborted_transactions_cost_little(producers: int) -> None:
    """A fetch with thousands of them takes hardly longer than one of as many batches without any."""
    log, aborted = b"", [(at % producers, at if producers > 1 else 2 * at) for at in range(3_000)]
    for each in aborted if producers > 1 else ():
        log += _as_transaction(batches([sent(None)], each[1], 0, 1), each[0], 0x10)
    for at, each in enumerate(aborted):
        if producers == 1:
            log += _as_transaction(batches([sent(None)], each[1], 0, 1), 0, 0x10)
        log += marker(3_000 + at if producers > 1 else each[1] + 1, each[0], 0)

    def seconds(*listed: tuple[int, int]) -> float:
        taken = []
        for _ in range(5):
            run = native_pass(log, KnownStatuses(), aborted=listed)
            begin = time.thread_time()
            assert run.go_on() is Stop.END
            taken.append(time.thread_time() - begin)
            assert run.ignored == (0, 0 if listed else 3_000)
        return min(taken)

    assert seconds(*aborted) < 4 * seconds() + 0.001


def test_a_batch_with_a_damaged_record_is_left_to_python_as_a_whole() -> None:
    """Nobody can read such a batch: no email of its first records leaves, and one stand-in is judged."""
    values = [good_action(number).value for number in range(6)]
    good = batches([sent(value) for value in values[:3]], 0, 0, 3)
    bad = bytearray(batches([sent(value) for value in values[3:]], 3, 0, 3))
    bad[-1] ^= 0x7F  # within the last record's headers' count
    struct.pack_into(">I", bad, 17, calc_crc32c(memoryview(bad)[21:]))
    statuses = known(values)
    assert differences(good + bytes(bad), statuses) == []
    run = native_pass(good + bytes(bad), statuses)
    assert (run.go_on(), run.next_offset) == (Stop.BATCH, 3)
    assert run.left() == (len(good), [])


@given(st.data(), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_damaged_bytes_come_to_the_same_on_both_paths(data: st.DataObject, dice: random.Random) -> None:
    """Any byte of a log may be another one, with the right checksum or not, in any codec."""
    values = [good_action(number).value for number in range(8)]
    log = bytearray(batches([sent(v, ("traceparent", TRACE)) for v in values], 5, dice.choice(CODECS), 3))
    # With another format, aiokafka takes a batch as readable or not by where it lies in the answer.
    formats = {at + 16 for at in _begins(log)}
    for _ in range(data.draw(st.integers(1, 3))):
        if (at := dice.randrange(len(log))) not in formats:
            log[at] = dice.randrange(256)
    if data.draw(st.booleans()):
        _correct_checksums(log)
    assert differences(bytes(log), known(values)) == []


def _begins(log: bytearray) -> Iterator[int]:
    """Where each batch begins, as far as their lengths are right."""
    at = 0
    while at + 61 <= len(log) and at + 61 <= (end := _end(log, at)) <= len(log):
        yield at
        at = end


def _end(log: bytearray, at: int) -> int:
    return at + 12 + int(struct.unpack_from(">i", log, at + 8)[0])


def _correct_checksums(log: bytearray) -> None:
    for at in _begins(log):
        struct.pack_into(">I", log, at + 17, calc_crc32c(memoryview(log)[at + 21 : _end(log, at)]))


# -- mutated records -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=40), st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_mutated_actions_come_to_the_same_on_both_paths(seeds: list[int], dice: random.Random) -> None:
    """Examples with faults in values, headers, keys, timestamps and sizes, between good actions."""
    records = [strange(random.Random(seed), ACTIONS) if seed % 3 else good_action(seed) for seed in seeds]
    statuses = KnownStatuses()
    statuses.know((record.value for record in records), lambda _: dice.choice([True, False, False, None]))
    log = batches(records, dice.randrange(1 << 40), dice.choice(CODECS), dice.randrange(1, 30))
    assert differences(log, statuses) == []


@given(st.sampled_from(ACTIONS), st.data())
@settings(max_examples=400)
def test_an_action_with_one_other_byte_comes_to_the_same_on_both_paths(
    value: bytes, data: st.DataObject
) -> None:
    """Each byte of an example may be missing, there twice, or any other."""
    if not value:
        return
    at = data.draw(st.integers(0, len(value) - 1))
    instead = data.draw(st.sampled_from([b"", value[at : at + 1] * 2]) | st.binary(min_size=1, max_size=3))
    bent = value[:at] + instead + value[at + 1 :]
    log = batches([sent(bent)], 0, 0, 1)
    statuses = known([value, bent])
    assert differences(log, statuses) == []


def test_emails_that_python_made_keep_their_place() -> None:
    """Native emails and those that the path in Python appended stand in the order of their actions."""
    values = [good_action(number).value for number in range(9)]
    statuses = known(value for at, value in enumerate(values) if at % 3)
    log = batches([sent(value) for value in values], 0, 0, 9)
    judged = natively(log, statuses)
    assert judged.whys == {"STATUS": 3}
    assert judged.emails == by_python(log, statuses).emails
    assert [email[0] for email in judged.emails] == [key_of(value) for value in values]


def test_a_batch_goes_on_over_several_passes() -> None:
    """What one fetch brought too little of goes together with the next; timestamps are each email's own."""
    made = library()
    batch = EmailBatch(made, 100_000)
    values = [good_action(number).value for number in range(4)]
    statuses = known(values)
    for at in range(4):
        run = native_pass(batches([sent(values[at])], at, 0, 1), statuses, batch=batch)
        run._state.timestamp_ms = NOW_MS + 5 * at
        assert run.go_on() is Stop.END
    assert batch.count == 4
    assert (batch.state.first_timestamp, batch.state.max_timestamp) == (NOW_MS, NOW_MS + 15)
