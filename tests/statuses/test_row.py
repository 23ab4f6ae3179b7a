"""Which of two statuses wins."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.statuses.row import Row, decode_row, encode_row, has_expired, overwrites, subscribed_at

times = st.floats(min_value=0, max_value=4e9, allow_nan=False) | st.integers(0, 5).map(float)
crm_rows = st.builds(Row, st.booleans(), times)
answers = st.builds(Row, st.booleans(), times, times)
rows = crm_rows | answers


def fold(rows: list[Row]) -> Row | None:
    """What the table holds after these rows, in this order."""
    kept: Row | None = None
    for row in rows:
        if overwrites(row, kept):
            kept = row
    return kept


@given(st.lists(crm_rows, min_size=1))
def test_of_crm_rows_in_any_order_the_newest_stays(given_rows: list[Row]) -> None:
    """Whatever the order of arrival, the row with the newest asOf stays; of equal ones the last to come."""
    newest = max(row.as_of for row in given_rows)
    expected = [row for row in given_rows if row.as_of == newest][-1]
    assert fold(given_rows) == expected


@given(st.lists(rows, min_size=1))
def test_no_answer_beats_the_crm(given_rows: list[Row]) -> None:
    """Answers between CRM rows change nothing; without any CRM row the last answer stays."""
    of_crm = [row for row in given_rows if row.expires_at is None]
    assert fold(given_rows) == (fold(of_crm) if of_crm else given_rows[-1])


@given(crm_rows, times)
def test_what_the_crm_says_never_expires(row: Row, now: float) -> None:
    """A CRM row is believed at any time."""
    assert subscribed_at(row, now) is row.subscribed


@given(answers, times)
def test_an_answer_is_believed_until_it_expires(row: Row, now: float) -> None:
    """Before the expiry an answer counts; at it and after it the status is missing."""
    assert row.expires_at is not None
    assert subscribed_at(row, now) is (row.subscribed if now < row.expires_at else None)


@given(rows, times)
def test_a_row_has_expired_when_it_says_nothing_any_more(row: Row, now: float) -> None:
    """The raw row is looked at as the decoded one is; what is no row has not expired, and stays."""
    assert has_expired(encode_row(row), now) is (subscribed_at(row, now) is None)
    assert not has_expired(b"[true,2.0,1.0", math.inf)


def test_a_missing_row_is_a_missing_status() -> None:
    """No row, no status."""
    assert subscribed_at(None, 0.0) is None


@given(rows)
def test_a_row_survives_encoding(row: Row) -> None:
    """What is decoded is what was encoded, to the last bit of its times."""
    assert decode_row(encode_row(row)) == row


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b"[true]",
        b"[1,2.0,null]",
        b'["true",2.0,null]',
        b"[true,2.0,null",
        b"\xff",
    ],
)
def test_anything_else_is_no_row(raw: bytes) -> None:
    """Truthy values, other shapes and cut bytes are refused, not guessed."""
    with pytest.raises(msgspec.DecodeError):
        decode_row(raw)


def test_a_row_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """A fourth element, which a later version might add, does not make a downgrade forget everybody."""
    assert decode_row(b'[false,2.0,null,"more"]') == Row(False, 2.0)


def test_a_time_that_is_no_number_cannot_come_back() -> None:
    """A NaN would win or lose by chance: it does not survive the store."""
    with pytest.raises(msgspec.DecodeError):
        decode_row(encode_row(Row(True, math.nan)))
