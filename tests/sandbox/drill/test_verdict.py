"""Judging a drill."""

from typing import Any

from streams.sandbox.drill.crowd import Group
from streams.sandbox.drill.figures import Delays, Figures, GroupFigures, SameSeconds
from streams.sandbox.drill.verdict import GoalVerdict, all_held, verdicts
from streams.sandbox.lookup_service import Behaviour


def run(
    *, others: float = 0.02, until: float = 1.0, once: float | None = 0.02, missing: int = 0, **more: Any
) -> Figures:
    """A run of 10 actions a group; delays are p99, in seconds; `beside`: of the known until the opening."""
    known = Delays(others, others, others)
    beside, own = more.get("beside", others), more.get("own", 0.01)
    return Figures(
        groups={
            group: GroupFigures(
                actions=10,
                emails=10 - missing,
                missing=missing,
                doubled=more.get("doubled", 0),
                delays=known,
            )
            for group in Group
        },
        uncalled=more.get("uncalled", 0),
        own=Delays(own, own, own),
        until_open=SameSeconds(Delays(until, until, until), Delays(beside, beside, beside)),
        once_open=SameSeconds(Delays(once, once, once), known),
    )


def judge(healthy: Figures, hanging: Figures) -> list[GoalVerdict]:
    return verdicts({Behaviour.HEALTHY: healthy, Behaviour.HANGING: hanging}, deadline=1.0)


def test_a_drill_that_went_well_holds() -> None:
    """Five goals, all held, each with the numbers of its modes."""
    found = judge(run(), run())
    assert len(found) == 5
    assert all_held(found)
    assert "healthy 30 of 30, 0 doubled; hanging 30 of 30, 0 doubled" in found[0].detail


def test_each_goal_can_be_missed() -> None:
    """One email too few or too many, or one delay above its limit, and exactly that goal is missed."""
    for dead, missed in (
        (run(missing=1), [0]),
        (run(doubled=1), [0]),
        (run(uncalled=1), [0]),
        (run(others=0.0701), [1, 2]),
        (run(until=1.0701), [3]),
        (run(once=0.0701), [4]),
    ):
        assert [number for number, each in enumerate(judge(run(), dead)) if not each.held] == missed


def test_others_are_measured_by_the_healthy_run() -> None:
    """What is slow while everybody is healthy is not the dead CRM's fault."""
    assert all_held(judge(run(others=0.5), run(others=0.75)))
    assert not all_held(judge(run(others=0.5), run(others=0.751)))


def test_a_machine_that_became_slower_is_not_the_dead_crms_fault() -> None:
    """Where the actions take 8 ms more to the reader, an email's two ways may take 16 ms more."""
    assert all_held(judge(run(), run(others=0.0859, own=0.018)))
    assert [each.held for each in judge(run(), run(others=0.0861, own=0.018))][:3] == [True, False, False]
    assert all_held(judge(run(own=0.03), run(others=0.0699))), "a faster machine makes no goal stricter"


def test_a_slower_machine_excuses_no_more_than_twice_the_delay() -> None:
    """A worker that takes all CPU delays the actions, too."""
    assert all_held(judge(run(), run(others=0.0899, own=1.0)))
    assert [each.held for each in judge(run(), run(others=0.0901, own=1.0))][:3] == [True, False, False]


def test_the_affected_are_measured_by_the_known_supporters_of_their_run() -> None:
    """On a machine that takes 500 ms for any email, an email behind an open breaker may take as long."""
    slow = run(others=0.5, until=1.74, once=0.74)
    assert all_held(judge(run(others=0.5), slow))
    assert "hanging 740 ms (at most 750 ms)" in judge(run(others=0.5), slow)[-1].detail


def test_a_slow_moment_is_judged_by_the_known_supporters_of_that_moment() -> None:
    """Delays of the time before the breaker opened say nothing of those after it, and the other way round."""
    assert all_held(judge(run(), run(until=1.2, beside=0.2)))
    assert [each.held for each in judge(run(), run(once=0.2, beside=0.2))] == [True, True, True, True, False]


def test_a_healthy_run_that_lost_an_email_is_missed_too() -> None:
    """The counts are judged in every mode."""
    assert not all_held(judge(run(missing=1), run()))


def test_without_a_healthy_run_nothing_is_compared() -> None:
    """A single dead mode is judged by its counts and by its own limits."""
    found = verdicts({Behaviour.HANGING: run()}, deadline=1.0)
    assert [verdict.goal.split(",")[0] for verdict in found] == [
        "Every action has its one email",
        "Affected",
        "Affected",
    ]


def test_no_delay_to_judge_is_shown_as_such() -> None:
    """A breaker that never opened, in a run that was too short for it, is a dash and not a miss."""
    found = verdicts({Behaviour.HANGING: run(once=None)}, deadline=1.0)
    assert found[-1].held
    assert "hanging –" in found[-1].detail
