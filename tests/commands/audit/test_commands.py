"""``streams audit`` as a person or a script sees it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.commands.audit.commands import audit
from tests.commands.conftest import Make, streams
from tests.commands.output import document
from tests.commands.topics import Topics
from tests.integration.topics import action


@pytest.mark.kafka
async def test_the_verdict_is_the_last_line_and_the_exit_code(topics: Make) -> None:
    """Place, actionId and time of what is missing, the verdict, exit code 1; no address anywhere."""
    live = await topics()
    places = await live.act([action(number) for number in range(4)])
    await live.mail([(number, places[number]) for number in (0, 1, 1, 3)])
    await live.settle_all()
    found = await streams(live, "audit")
    lines = found.stdout.splitlines()
    assert found.exit_code == 1
    assert lines[-1] == "4 actions, 4 emails, 1 missing, 1 doubled"
    partition, offset = places[2]
    (missing,) = [line for line in lines if line.startswith("missing: ")]
    assert missing.startswith(f"missing: {live.names.actions}/{partition}/{offset}  actionId 2  20")
    assert f"doubled: {live.names.actions}/{places[1][0]}/{places[1][1]}" in lines
    assert "example.org" not in found.stdout + found.stderr
    await live.mail([(2, places[2])])
    mended = await streams(live, "audit", "--json", "--from", "-1h", "--list", "0")
    counted = document("audit", mended.stdout)
    assert (counted["missing"], counted["doubled"], counted["emails"]) == (0, 1, 5)
    assert counted["doubled_actions"] == []
    assert mended.exit_code == 1


@pytest.mark.kafka
async def test_nothing_missing_is_exit_code_0(topics: Make, tmp_path: Path) -> None:
    """A sound topic, and an empty one; a collector's file says the same, or why it cannot be written."""
    live = await topics()
    assert (await streams(live, "audit")).stdout.splitlines()[
        -1
    ] == "0 actions, 0 emails, 0 missing, 0 doubled"
    places = await live.act([action(1)])
    await live.mail([(1, places[0])])
    await live.settle_all()
    found = await streams(live, "audit")
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.splitlines()[-1] == "1 actions, 1 emails, 0 missing, 0 doubled"
    await streams(live, "audit", "--metrics-file", str(tmp_path / "audit.prom"))
    lines = (tmp_path / "audit.prom").read_text().splitlines()
    assert {"confirmation_audit_emails 1.0", "confirmation_audit_missing_actions 0.0"} <= set(lines)
    refused = await streams(live, "audit", "--metrics-file", str(tmp_path / "missing" / "audit.prom"))
    assert (refused.exit_code, "cannot write" in refused.stderr) == (3, True)


@pytest.mark.kafka
async def test_a_partition_that_does_not_exist_is_refused(topics: Make) -> None:
    """Exit code 2 and the partitions that there are: nothing missing in none of them would say nothing."""
    live = await topics()
    found = await streams(live, "audit", "--partition", "99")
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr == f"Error: topic {live.names.actions} has no partition 99: it has 0 to 1\n"


@pytest.mark.kafka
@pytest.mark.parametrize("command", ["audit", "resend"])
async def test_a_missing_topic_is_exit_code_3(topics: Make, command: str) -> None:
    """Nobody knows the answer, as without Kafka."""
    live = await topics()
    found = await streams(Topics(live.servers, f"{live.installation.group}-none"), command)
    assert (found.exit_code, found.stdout) == (3, "")
    assert found.stderr.startswith(f"Error: there is no topic {live.installation.group}-none-actions")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "2026-11-24"], "as in 2026-11-24T00:00:00Z"),
        (["--from", "yesterday"], "allowed is a time"),
        (["--from", "17"], "one --partition"),
        (["--from", "-1h", "--to", "-2h"], "--to lies before --from"),
        (["--partition", "-1"], "x>=0"),
    ],
)
def test_a_wrong_range_is_a_usage_error(arguments: list[str], said: str) -> None:
    """Exit code 2, before anything is asked of Kafka."""
    result = CliRunner().invoke(audit, arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_an_unreachable_kafka_is_exit_code_3() -> None:
    """One sentence, and not the exit code that says that something is missing."""
    result = CliRunner().invoke(audit, [], env={"STREAMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert result.exit_code == 3
    assert result.stderr == "Error: Kafka does not answer (KafkaConnectionError)\n"
