"""The demo of Proca's way, and what it calls a fault."""

import subprocess
import sys
from email.message import EmailMessage

import pytest

from examples.proca.demo.letters import faults
from streams.sandbox.worker import SOURCE

BASE = "https://api.proca.example"


def letter(action_id: int, *paths: str) -> EmailMessage:
    made = EmailMessage()
    made["X-MJ-CustomID"] = f"action:{action_id}"
    made.set_content("\n".join(f"{BASE}/link/s/{path}" for path in paths))
    made.add_alternative("<p></p>", subtype="html")
    return made


def test_a_letter_has_its_action_s_links_and_is_the_only_one() -> None:
    """Two buttons, or one for a subscriber; another link, and another number of letters, is a fault."""
    one = letter(1, "1/accept/r", "1/reject/r")
    two = letter(2, "2/accept/s?doi=1", "2/accept/s", "2/reject/s")
    assert faults([one, two], BASE, {1: "r", 2: "s"}, {1}) == []
    assert faults([one, two], BASE, {1: "r", 2: "s"}, {1, 2}) == ["the letter of action 2 has other links"]
    assert faults([one, two], BASE, {1: "x", 2: "s"}, {1}) == ["the letter of action 1 has other links"]
    assert faults([one, one], BASE, {1: "r", 2: "s"}, {1}) == [
        "action 1 has 2 letters",
        "action 2 has 0 letters",
    ]
    assert faults([one, two], BASE, {1: "r"}, {1})[-1] == "there is a letter for action 2"


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_as_many_letters_as_messages() -> None:
    """The demo ends well, with the audit's lines and one line over both sides."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.proca.demo", "60"],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "From Proca to people: 60 messages, 60 letters"
