"""An audit that is repeated: its pace, what it names, and that it goes on without Kafka."""

from collections.abc import Callable, Sequence

import pytest
from click.testing import CliRunner

from streams.commands.audit.commands import audit
from streams.commands.audit.matching import Counts
from streams.commands.audit.outcome import AuditResult
from streams.commands.audit.watching import Lines, watch
from streams.commands.command_line import NoAnswer
from streams.commands.topic_reader import RecordId
from tests.commands.conftest import Make, streams
from tests.integration.topics import action


class Ended(Exception):
    """What ends a watch in these tests, as Ctrl-C does."""


def watched(
    rounds: Sequence[tuple[float, AuditResult | NoAnswer]], every: float, show: Callable[[AuditResult], None]
) -> tuple[list[float], list[float]]:
    """Run rounds that take so many seconds each; returns when they began, and the pauses after them."""
    now, began, pauses = 100.0, [], []

    def run(elapsed: float) -> AuditResult:
        nonlocal now
        seconds, found = rounds[len(began)]
        began.append(elapsed)
        now += seconds
        if isinstance(found, NoAnswer):
            raise found
        return found

    def sleep(seconds: float) -> None:
        nonlocal now
        pauses.append(seconds)
        now += seconds
        if len(pauses) == len(rounds):
            raise Ended

    with pytest.raises(Ended):
        watch(run, every, show, lambda: now, sleep)
    return began, pauses


def test_rounds_begin_at_their_pace_and_never_overlap() -> None:
    """The pause is what is left of the interval; after a round that took longer, the next begins at once."""
    sound = AuditResult(Counts())
    shown: list[AuditResult] = []
    began, pauses = watched([(2.0, sound), (45.0, sound), (1.0, sound)], 30.0, shown.append)
    assert (began, pauses, len(shown)) == ([0.0, 30.0, 75.0], [28.0, 0.0, 29.0], 3)


def test_a_round_without_kafka_is_told_and_the_next_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """Its sentence goes to standard error with the time, and nothing to standard output."""
    shown: list[AuditResult] = []
    watched([(1.0, NoAnswer("Kafka does not answer")), (1.0, AuditResult(Counts()))], 5.0, shown.append)
    out, err = capsys.readouterr()
    assert (out, err.endswith("Z  Kafka does not answer\n"), len(shown)) == ("", True, 1)


def test_a_doubled_action_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Each round has its sums in one line, with the verdict; a place is named when it is new."""
    lines = Lines("actions", 20)
    first, second = RecordId(0, 7), RecordId(1, 8)
    for doubled in ([], [first], [first, second]):
        lines.show(AuditResult(Counts(), doubled=doubled, in_flight=3))
    printed = capsys.readouterr().out.splitlines()
    sums = [line.partition("Z  ")[2] for line in printed if not line.startswith("doubled")]
    assert sums == [
        "0 actions, 0 emails, 0 missing, 0 doubled, 3 in flight",
        "0 actions, 0 emails, 0 missing, 1 doubled, 3 in flight  NOT SOUND",
        "0 actions, 0 emails, 0 missing, 2 doubled, 3 in flight  NOT SOUND",
    ]
    assert [line for line in printed if line.startswith("doubled")] == [
        "doubled: actions/0/7",
        "doubled: actions/1/8",
    ]


@pytest.mark.parametrize("pause", ["0.5", "500ms", "soon", "-5", "nan", "inf"])
def test_a_pause_is_a_duration_of_a_second_at_least(pause: str) -> None:
    """With or without a unit, as settings have it; what is too short or no duration is wrong use."""
    result = CliRunner().invoke(audit, ["--watch", pause])
    assert (result.exit_code, "--watch" in result.stderr) == (2, True)


@pytest.mark.kafka
async def test_ctrl_c_ends_a_watch_as_any_command(topics: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each audit is one line until then; the exit code is that of an interrupt."""
    live = await topics()
    places = await live.act([action(1)])
    await live.mail([(1, places[0])])
    await live.settle_all()

    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("streams.commands.audit.watching.watch.__defaults__", (lambda: 0.0, sleep))
    found = await streams(live, "audit", "--watch", "30s")
    (line,) = found.stdout.splitlines()
    assert line.endswith("Z  1 actions, 1 emails, 0 missing, 0 doubled, 0 in flight")
    assert (found.exit_code, found.stderr) == (130, "interrupted\n")
