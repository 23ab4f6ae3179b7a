import re

import pytest

from bench import report
from bench.results import Measured, Results
from bench.rounds import Round


def run(**rates: list[float]) -> Results:
    """A run with these rates for every status known."""
    rounds = [
        Round(name.replace("_", "-"), "", number, {"rate": rate, "cpu_us": 1e6 / rate})
        for name, series in rates.items()
        for number, rate in enumerate(series)
    ]
    return Results("full", scenarios={"known": Measured("Known", rounds)})


def verdicts(results: Results) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in report.goals(results)}


def test_a_goal_that_is_reached_is_met() -> None:
    """Twice Kafka Streams is what the goal asks."""
    found = verdicts(run(ours=[100.0], kafka_streams=[50.0]))
    assert found["known statuses, by Kafka Streams EOS v2 (the better of its two)"] == (
        "≥ 2 ×",
        "2.00 ×",
        "met",
    )


def test_a_missed_goal_is_said_to_be_missed() -> None:
    """It is not rounded up to its bound."""
    found = verdicts(run(ours=[129.99], bare=[100.0]))
    assert found["known statuses, by a bare aiokafka loop"] == ("≥ 1.3 ×", "1.30 ×", "MISSED")


def test_the_better_variant_of_a_peer_counts() -> None:
    """We do not compare with the slower way to use it."""
    found = verdicts(run(ours=[100.0], quix=[10.0], quix_splice=[100.0]))
    assert found["known statuses, by Quix Streams EOS (the better of its two)"][2] == "MISSED"


def test_what_did_not_run_is_not_measured() -> None:
    """A peer that was skipped gives no verdict."""
    assert verdicts(run(ours=[100.0]))["known statuses, by a stock Faust agent"][2] == "not measured"


def test_a_goal_may_be_held_against_another_scenario_of_the_run() -> None:
    """Nine of ten known are compared with the bare loop's all known, round by round."""
    results = run(ours=[100.0], bare=[100.0, 200.0])
    mixed = [Round("ours", "90 % known", number, {"rate": rate}) for number, rate in enumerate((30.0, 60.0))]
    results.scenarios["mixed"] = Measured("Nine of ten known", mixed)
    (found,) = (row for what, row in verdicts(results).items() if what.startswith("nine of ten known"))
    assert found == ("≥ 0.272 ×", "0.30 ×", "met")


def test_missing_statuses_are_held_against_the_bare_loop_and_against_flink() -> None:
    """Each is a goal of its own, and both ask for the same rate or more."""
    rates = {"ours": 100.0, "bare-questions": 125.0, "flink": 80.0}
    rounds = [Round(name, "lookup 5 ms", 0, {"rate": rate}) for name, rate in rates.items()]
    found = verdicts(Results("full", scenarios={"missing": Measured("Missing", rounds)}))
    assert found["missing statuses, by a bare httpx-aiohttp loop"] == ("≥ 1 ×", "0.80 ×", "MISSED")
    assert found["missing statuses, by Flink async I/O"] == ("≥ 1 ×", "1.25 ×", "met")


def test_a_run_too_short_for_any_cpu_time_has_no_ratio_of_it() -> None:
    """The kernel counts CPU time in ticks of 10 ms: nothing is divided by none."""
    results = run(ours=[100.0])
    results.scenarios["known"].rounds.append(Round("bare", "", 0, {"rate": 100.0, "cpu_us": 0.0}))
    found = verdicts(results)["CPU per action, known statuses, by a bare aiokafka loop"]
    assert found == ("≤ 0.7 ×", "–", "not measured")


def test_other_settings_have_goals_of_their_own() -> None:
    """This app with and without a setting, in the same rounds, is held against the same bounds twice."""
    results = run(ours=[100.0], bare=[100.0])
    fast = Round("ours NATIVE_PASS=on", "", 0, {"rate": 200.0, "cpu_us": 5.0})
    results.scenarios["known"].rounds.append(fast)
    text = report.as_text(results)
    first, second = text.split("goals, with NATIVE_PASS=on")
    assert re.search(r"by a bare aiokafka loop +≥ 1.3 × +1.00 × +MISSED", first)
    assert re.search(r"by a bare aiokafka loop +≥ 1.3 × +2.00 × +met", second)


def test_a_table_shows_median_and_spread() -> None:
    """One row a contender, with the lowest and the highest of its rounds."""
    heads, rows = report.table(run(ours=[100.0, 300.0, 200.0]).scenarios["known"])
    assert heads == ("contender", "case", "actions/s", "CPU µs/action", "rounds")
    assert rows == [("ours", "", "200 (100–300)", "5,000 (3,333–10,000)", "3")]


def test_failures_are_shown() -> None:
    """A wrong output is named with its contender."""
    results = run(ours=[1.0])
    results.scenarios["known"].rounds.append(Round("bare", "", problems=["3 emails missing.\n  its log"]))
    assert results.failures() == ["known: bare: 3 emails missing.\n  its log"]
    assert "FAILED: known: bare: 3 emails missing.\n  its log" in report.as_text(results)
    assert "**Failed:** known: bare: 3 emails missing." in report.as_markdown(results)
    assert "its log" not in report.as_markdown(results), "a page is no place for logs"


def test_figures_go_between_the_markers_and_only_there() -> None:
    """Writing them twice gives what writing them once gives; the rest of the page stays."""
    page = f"before\n{report.BEGIN}\nfigures of before\n{report.END}\nafter\n"
    once = report.into_markdown(page, run(ours=[100.0]))
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "figures of before" not in once
    assert report.into_markdown(once, run(ours=[100.0])).count("### Known") == 1


def test_a_page_without_markers_is_refused() -> None:
    """Nothing is written somewhere else."""
    with pytest.raises(ValueError, match="no place"):
        report.into_markdown("text", run(ours=[100.0]))


def test_the_page_says_what_the_machine_gave() -> None:
    """The speed of a core just before the rounds, and nothing of it where a run of before has none."""
    results = run(ours=[100.0, 200.0])
    assert "Python loop" not in report.as_markdown(results)
    for each, speed in zip(results.scenarios["known"].rounds, (5.0, 11.0), strict=True):
        each.core_speed = speed
    assert "one core made 8.00 (5.00–11.0) million turns" in report.as_markdown(results)
