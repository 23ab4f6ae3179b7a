"""What the mailer and the bridge do alike with their settings."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.mailer.settings import Settings as MailerSettings
from examples.proca.settings import Settings as BridgeSettings
from examples.settings import KafkaSettings, settings_table

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("example", "settings"), [("mailer", MailerSettings), ("proca", BridgeSettings)])
def test_the_readme_has_every_setting(example: str, settings: type[KafkaSettings]) -> None:
    """Its table is what the command `settings` prints."""
    assert f"\n{settings_table(settings)}\n" in (ROOT / f"examples/{example}/README.md").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("mailer", "MAILER_FROM must be set.\n"),
        ("proca actions", "BRIDGE_AMQP_URL must be set.\n"),
        ("proca", "python -m examples.proca"),
        ("mailer actions", "python -m examples.mailer"),
    ],
)
def test_a_wrong_start_is_one_sentence(words: str, says: str) -> None:
    """A setting that is missing, and a command that is missing or unknown: exit code 2 and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", *f"examples.{words}".split()],
        env={"PATH": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
