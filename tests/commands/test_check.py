"""``streams check``: all that a worker needs, looked at before there is one."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.__main__ import main
from tests.commands.conftest import Make, streams
from tests.commands.output import document
from tests.commands.topics import Topics


def test_what_is_wrong_without_kafka_is_said_at_once(tmp_path: Path) -> None:
    """Wrong settings end it with 2; so does a wrong organisations file, and the brokers are looked at."""
    wrong = CliRunner().invoke(main, ["check"], env={"STREAMS_WEB_PORT": "0"})
    assert (wrong.exit_code, "STREAMS_WEB_PORT" in wrong.stderr) == (2, True)
    file = tmp_path / "organisations.toml"
    file.write_text("[organisation.310]\nurl = 1\n")
    environ = {"STREAMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "ORGANISATIONS_FILE": str(file)}
    both = CliRunner().invoke(main, ["check"], env=environ)
    assert both.exit_code == 2
    assert "line 2: organisation.310.url" in both.stdout
    assert "no broker answers at 127.0.0.1:9" in both.stdout
    del environ["ORGANISATIONS_FILE"]
    assert CliRunner().invoke(main, ["check"], env=environ).exit_code == 3


@pytest.mark.kafka
async def test_topics_that_fit_are_no_problem_and_no_worker_is_needed(topics: Make) -> None:
    """Exit code 0 with warnings; 1 where topics do not fit, or are missing and shall not be made."""
    compacted = {"cleanup.policy": "compact"}
    live = await topics(statuses=compacted, changelog=compacted)
    result = await streams(live, "check", "--json")
    findings = document("findings", result.stdout)
    assert (result.exit_code, {each["level"] for each in findings}) == (0, {"ok", "warning"})
    checks = {each["check"] for each in findings}
    assert checks == {"settings", "organisations", "brokers", "rights", "topics"}
    other = Topics(live.servers, f"{live.installation.group}-none")
    missing = await streams(other, "check")
    assert (missing.exit_code, missing.stdout.count("is missing")) == (1, 6)
    to_be_made = await streams(other, "check", "--make-topics")
    assert (to_be_made.exit_code, to_be_made.stdout.count("is missing")) == (0, 6)
    forgetful = await topics(statuses=compacted, changelog=compacted, emails=compacted)
    assert (await streams(forgetful, "check", "--make-topics")).exit_code == 1
