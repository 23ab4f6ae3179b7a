"""Open transactions."""

from __future__ import annotations

from streams.commands.doctor.findings import Level
from streams.commands.doctor.transactions import Open, check_open, check_stable_ends

NOW = 10_000.0


def opened(age: float) -> Open:
    return Open("g-actions-3", "Ongoing", 10.0, NOW - age, ("emails/3",))


def test_age_decides() -> None:
    """Young: fine. Longer than a minute: a warning. Beyond its timeout: nothing will end it."""
    levels = [check_open([opened(age)], NOW)[0].level for age in (1, 65, 3_600)]
    assert levels == [Level.OK, Level.WARNING, Level.PROBLEM]
    (finding,) = check_open([opened(3_600)], NOW)
    assert "g-actions-3 (Ongoing) is open for 60 min in emails/3" in finding.text


def test_brokers_that_list_nothing_are_no_proof() -> None:
    """It is said that nothing is known."""
    assert check_open(None, NOW)[0].level is Level.NOTE
    assert check_open([], NOW)[0].level is Level.OK


async def test_only_a_stable_end_that_stands_still_is_a_problem() -> None:
    """One that moves while it is behind belongs to a busy topic."""
    stable = iter([{0: 5, 1: 5, 2: 9}, {0: 5, 1: 8, 2: 9}])

    async def stable_ends() -> dict[int, int]:
        return next(stable)

    async def ends() -> dict[int, int]:
        return dict.fromkeys(range(3), 9)

    (finding,) = await check_stable_ends("emails", stable_ends, ends)
    assert finding.text.startswith(
        "emails/0: readers of committed records stand still at offset 5, 4 offsets"
    )
