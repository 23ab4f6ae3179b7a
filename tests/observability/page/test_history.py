"""The ring of points, the growth of logs, and dead letters by kind."""

from streams.observability.page.history import DeadLetterHistory, DeadLetterKind, History, LogGrowth, Point


def test_a_point_is_what_the_counters_grew_by() -> None:
    """Totals go in, growth since the last second comes out; the first point has nothing to compare with."""
    history = History()
    assert history.note(100.04, (7, 70)) == Point(100.0, (0, 0))
    assert history.note(101.06, (9, 71)) == Point(101.1, (2, 1))
    assert history.sum(0) == 2
    assert history.sum(1) == 1


def test_the_ring_forgets_the_oldest_points() -> None:
    """It holds so many points and no more, however long the worker runs."""
    history = History(kept=3)
    for second in range(10):
        history.note(second, (second,))
    assert [point.moment for point in history] == [7, 8, 9]
    assert history.sum(0) == 3


def test_logs_grow_by_what_arrives_and_not_by_a_rebalance() -> None:
    """A partition that comes, goes, and comes back adds only what it grew by while it was ours."""
    growth = LogGrowth()
    growth.note({("actions", 0): 1_000})
    growth.note({("actions", 0): 1_010, ("actions", 1): 5_000})
    assert growth.total == 10
    growth.note({("actions", 1): 5_001})
    growth.note({("actions", 0): 9_000, ("actions", 1): 5_003})
    assert growth.total == 13


def test_a_topic_made_anew_does_not_shrink_the_total() -> None:
    """An end offset that falls counts as nothing."""
    growth = LogGrowth()
    growth.note({("actions", 0): 1_000})
    growth.note({("actions", 0): 3})
    growth.note({("actions", 0): 5})
    assert growth.total == 2


def test_dead_letters_have_a_last_time_and_are_recent_for_some_minutes() -> None:
    """Each kind has its total, when it last happened, and how many there were in the time kept."""
    dead = DeadLetterHistory(kept=600)
    dead.note(0, {("actions", "not_json"): 0})
    assert dead.kinds() == []
    dead.note(10, {("actions", "not_json"): 2})
    dead.note(300, {("actions", "not_json"): 3, ("statuses", "field_type"): 1})
    assert dead.kinds() == [
        DeadLetterKind("actions", "not_json", 3, 3, 300),
        DeadLetterKind("statuses", "field_type", 1, 1, 300),
    ]
    dead.note(610, {("actions", "not_json"): 3, ("statuses", "field_type"): 2})
    assert dead.kinds() == [
        DeadLetterKind("statuses", "field_type", 2, 2, 610),
        DeadLetterKind("actions", "not_json", 1, 3, 300),
    ]
    dead.note(900, {("actions", "not_json"): 3, ("statuses", "field_type"): 2})
    assert [kind.recent for kind in dead.kinds()] == [1, 0]
