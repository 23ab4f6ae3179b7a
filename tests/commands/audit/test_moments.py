"""Where a range begins or ends, as a person writes it."""

import pytest

from streams.commands.audit.moments import Moment, moment

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", Moment(milliseconds=1_000)),
        ("1970-01-01t01:00:01.5+01:00", Moment(milliseconds=1_500)),
        ("-2h", Moment(milliseconds=992_800_000, ago=7_200)),
        ("-30s", Moment(milliseconds=999_970_000, ago=30)),
        ("-999d", Moment(milliseconds=0, ago=999 * 86_400)),
        ("1234", Moment(offset=1234)),
    ],
)
def test_a_moment_is_a_time_a_time_ago_or_an_offset(text: str, expected: Moment) -> None:
    """RFC 3339, minus and a unit, or a whole number."""
    assert moment(text, NOW) == expected


def test_a_time_ago_moves_on() -> None:
    """The last two hours are others an hour later; a time and an offset stay."""
    assert moment("-2h", NOW).after(3_600).milliseconds == 996_400_000
    for text in ("1970-01-01T00:00:01Z", "1234"):
        assert moment(text, NOW).after(3_600) == moment(text, NOW)


def test_a_date_is_refused_with_what_it_lacks() -> None:
    """A date says neither when the day begins nor where; the hint can be typed as it stands."""
    with pytest.raises(ValueError, match=r"as in 2026-11-24T00:00:00Z$") as refused:
        moment("2026-11-24", NOW)
    assert moment(str(refused.value).rpartition(" ")[2], NOW) == Moment(milliseconds=1_795_478_400_000)


@pytest.mark.parametrize("text", ["2026-11-24T10:00", "2026-11-24 10", "2026-W48-2", "20261124T10"])
def test_a_time_without_its_offset_is_refused_with_one_that_is_taken(text: str) -> None:
    """However it is written: what the error advises can be typed as it stands."""
    with pytest.raises(ValueError, match="as in ") as refused:
        moment(text, NOW)
    advised = str(refused.value).partition("as in ")[2].partition(";")[0]
    assert moment(advised, NOW).milliseconds is not None


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2h", "-2w", "-h", "+5", "1.5", "٣", "2026-11-24T10:00:00"]
)
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    """The error names the allowed forms; a time without its offset from UTC is a guess, and refused."""
    with pytest.raises(ValueError, match="allowed is a time"):
        moment(text, NOW)
