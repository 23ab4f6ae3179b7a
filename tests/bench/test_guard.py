from bench import guard
from bench.results import Measured, Results
from bench.rounds import Round


def test_figures_are_divided_by_the_bare_loop_s_of_the_same_run() -> None:
    """On a machine of half the speed they are the same."""
    rounds = [
        Round("ours", "", 0, {"rate": 80.0, "cpu_us": 12.0}),
        Round("bare", "", 0, {"rate": 100.0, "cpu_us": 6.0}),
    ]
    results = Results("quick", scenarios={"known": Measured("Known", rounds)})
    assert guard.ratios(results) == {"known: rate": 0.8, "known: cpu_us": 2.0}


def test_without_the_bare_loop_there_is_nothing_to_compare() -> None:
    """A run of something else is not held against the baseline."""
    assert guard.ratios(Results("quick")) == {}


def test_a_run_too_short_for_any_cpu_time_has_no_figure_of_it() -> None:
    """The kernel counts CPU time in ticks of 10 ms: a short run has none, and is no error."""
    rounds = [
        Round("ours", "", 0, {"rate": 80.0, "cpu_us": 0.0}),
        Round("bare", "", 0, {"rate": 100.0, "cpu_us": 0.0}),
    ]
    assert guard.ratios(Results("tiny", scenarios={"known": Measured("Known", rounds)})) == {
        "known: rate": 0.8
    }
    assert guard.compare({"known: cpu_us": 2.0}, {"known: cpu_us": 0.0}) == []


def test_within_a_tenth_nothing_is_said() -> None:
    """Machines waver."""
    assert (
        guard.compare(
            {"known: rate": 0.82, "known: cpu_us": 2.15}, {"known: rate": 0.9, "known: cpu_us": 2.0}
        )
        == []
    )


def test_what_became_worse_is_said_and_what_became_better_is_not() -> None:
    """A lower rate is worse, and so is more CPU time."""
    before = {"known: rate": 0.9, "known: cpu_us": 2.0, "dead: rate": 0.5}
    now = {"known: rate": 0.7, "known: cpu_us": 2.5, "dead: rate": 0.9}
    assert guard.compare(now, before) == [
        "known: cpu_us was 2.00 of the bare loop's, and is 2.50 (+25%)",
        "known: rate was 0.90 of the bare loop's, and is 0.70 (-22%)",
    ]
