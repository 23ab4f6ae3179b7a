"""``python -m bench``: measure, say what came of each goal, and keep it all in ``bench/results.json``."""

import json
import signal
import sys
import time
from pathlib import Path

import click

from bench import guard, plot, report
from bench.contenders import CONTENDERS, with_settings
from bench.course import ASKS_ONLY, Course
from bench.own_actions import OwnActionsError, read
from bench.results import Results
from bench.scenarios import FULL, QUICK, SCENARIOS, TINY, Scale, Scenario, own_actions
from streams.sandbox.kafka.errors import EmbeddedKafkaError

FOLDER = Path(__file__).parent
DOCS = FOLDER.parent / "docs"
PART = FOLDER.parent / ".cache" / "bench-part.json"  # a run that is not whole, or not full


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@click.command(help=__doc__)
@click.option("--quick", "scale", flag_value="quick", help="Fewer and smaller rounds: under 4 minutes.")
@click.option("--tiny", "scale", flag_value="tiny", help="Shows that it runs; the figures mean nothing.")
@click.option("--only", help=f"Scenarios, with commas: {', '.join(SCENARIOS)}.")
@click.option("--contenders", help="Of each scenario's contenders only these, with commas.")
@click.option(
    "--also",
    multiple=True,
    metavar="NAME=VALUE,…",
    help="This app once more, with these settings of the worker: beside it in the same rounds.",
)
@click.option(
    "--actions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure known statuses on your own actions: a JSON value on each line. Nothing of them is shown.",
)
@click.option("--rounds", type=click.IntRange(1), help="Instead of the scale's number.")
@click.option("--results", type=click.Path(path_type=Path), help="Where to keep them (bench/results.json).")
@click.option(
    "--keep-baseline", is_flag=True, help="Make this run the one that later ones are compared with."
)
@click.option(
    "--report", "only_report", is_flag=True, help="Run nothing: write README and plot from results."
)
def main(
    scale: str | None,
    only: str | None,
    contenders: str | None,
    also: tuple[str, ...],
    actions: Path | None,
    rounds: int | None,
    results: Path | None,
    keep_baseline: bool,
    only_report: bool,
) -> None:
    """Run the bench; exits with 1 when a contender failed or its output was wrong, not for a missed goal.

    Raises:
        click.ClickException: there is no broker to be had.
    """
    whole = FOLDER / "results.json"
    if only_report:
        found = Results.load(results or whole)
        if keep_baseline:
            click.echo(keep_as_baseline(found))
        _publish(found)
        return
    chosen_scale = {"quick": QUICK, "tiny": TINY}.get(scale or "", FULL)
    names = (
        only.split(",")
        if only
        else [each.name for each in SCENARIOS.values() if each.quick_rounds or chosen_scale is FULL]
    )
    if unknown := sorted(set(names) - SCENARIOS.keys()):
        raise click.UsageError(
            f"no scenario is called {', '.join(unknown)}: there are {', '.join(SCENARIOS)}"
        )
    chosen = tuple(contenders.split(",")) if contenders else None
    if unknown := sorted(set(chosen or ()) - {*CONTENDERS, ASKS_ONLY}):
        raise click.UsageError(
            f"no contender is called {', '.join(unknown)}: there are {', '.join([*CONTENDERS, ASKS_ONLY])}"
        )
    try:
        variants = tuple(map(with_settings, also))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--also") from None
    scenarios = [SCENARIOS[name] for name in names]
    if actions is not None:
        if only:
            raise click.UsageError("--actions has a scenario of its own: leave --only out")
        scenarios = [_of_file(actions, chosen_scale)]
    signal.signal(signal.SIGTERM, _interrupt)  # brokers and contenders are ended then too
    begin = time.monotonic()

    def told(line: str) -> None:
        click.echo(f"{time.monotonic() - begin:6.0f} s  {line}")

    # A part of it does not replace what the whole run found.
    part = only or contenders or also or actions or chosen_scale is not FULL
    path = results or (PART if part else whole)

    def keep(found: Results) -> None:
        """After each scenario: what ends the run later does not take it away."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
        new.replace(path)

    course = Course(chosen_scale, told, keep, rounds, chosen, variants)
    try:
        found = course.run(scenarios)
    except EmbeddedKafkaError as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n" + report.as_text(found))
    if chosen_scale is TINY:
        click.echo("It runs; figures of a tiny run mean nothing.")
    if actions is None:  # the baseline is that of our own actions
        for line in [keep_as_baseline(found)] if keep_baseline else held_against_baseline(found):
            click.echo(line)
    click.echo(f"All rounds are in {path}; it took {found.seconds / 60:.1f} minutes.")
    if path == whole:
        _publish(found)
    sys.exit(1 if found.failures() else 0)


def _of_file(path: Path, scale: Scale) -> Scenario:
    """The scenario of the user's own actions.

    Raises:
        click.BadParameter: they cannot be used; nothing of them is quoted.
    """
    try:
        work = read(path, scale.actions(120_000))
    except (OwnActionsError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise click.BadParameter(f"{path}: {why}", param_hint="--actions") from None
    return own_actions(work)


def _baselines() -> dict[str, dict[str, float]]:
    """By scale: a quick run's rounds are shorter, so that its ratios are others."""
    path = FOLDER / "baseline.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def keep_as_baseline(found: Results) -> str:
    """Make a run the one that later ones of its scale are compared with; returns a sentence that says so."""
    path = FOLDER / "baseline.json"
    kept = {**_baselines(), found.scale: guard.ratios(found)}
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return f"This is the baseline of {found.scale} runs now, in {path}."


def held_against_baseline(found: Results) -> list[str]:
    """What became worse since the baseline of its scale; nothing where there is none to compare with."""
    now, before = guard.ratios(found), _baselines().get(found.scale, {})
    if not now.keys() & before.keys():
        return []
    kept = f"guard: nothing is worse than the baseline by more than {guard.TOLERATED:.0%}"
    return [f"warning: {warning}" for warning in guard.compare(now, before)] or [kept]


def _publish(found: Results) -> None:
    """Write the README's tables and the plot."""
    readme = FOLDER / "README.md"
    readme.write_text(report.into_markdown(readme.read_text(encoding="utf-8"), found), encoding="utf-8")
    for path in plot.draw(found, DOCS):
        click.echo(f"wrote {path}")


if __name__ == "__main__":
    main()
