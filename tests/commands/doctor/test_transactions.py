"""Open transactions."""

from streams.commands.doctor.findings import Severity
from streams.commands.doctor.transactions import STILL, OpenTransaction, check_open, check_stable_ends

NOW = 10_000.0


def opened(age: float) -> OpenTransaction:
    return OpenTransaction("g-actions-3", "Ongoing", 10.0, NOW - age, ("emails/3",))


def test_age_decides() -> None:
    """Young: fine. Longer than a minute: a warning. Beyond its timeout: nothing will end it."""
    levels = [check_open([opened(age)], NOW)[0].level for age in (1, 65, 3_600)]
    assert levels == [Severity.OK, Severity.WARNING, Severity.PROBLEM]
    (finding,) = check_open([opened(3_600)], NOW)
    assert "g-actions-3 (Ongoing) is open for 60 min in emails/3" in finding.text


def test_brokers_that_list_nothing_are_no_proof() -> None:
    """It is said that nothing is known."""
    assert check_open(None, NOW)[0].level is Severity.NOTE
    assert check_open([], NOW)[0].level is Severity.OK


async def test_only_a_stable_end_that_stands_still_is_a_problem() -> None:
    """One that moves while it is behind belongs to a busy topic."""
    moved = False
    pauses: list[float] = []

    async def stable_ends() -> dict[int, int]:
        return {0: 5, 1: 8 if moved else 5, 2: 9}

    async def ends() -> dict[int, int]:
        return dict.fromkeys(range(3), 9)

    async def pause(seconds: float) -> None:
        nonlocal moved
        moved = True
        pauses.append(seconds)

    (finding,) = await check_stable_ends("emails", stable_ends, ends, pause)
    assert pauses == [STILL]
    assert finding.text.startswith(
        "emails/0: readers of committed records stand still at offset 5, 4 offsets"
    )


async def test_nobody_waits_where_every_stable_end_is_the_end() -> None:
    """Without an open transaction there is nothing to look at twice."""

    async def all_ends() -> dict[int, int]:
        return {0: 5}

    async def pause(_: float) -> None:
        raise AssertionError("waited for nothing")

    assert await check_stable_ends("emails", all_ends, all_ends, pause) == []
