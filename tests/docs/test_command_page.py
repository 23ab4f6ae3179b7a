"""The page of all commands: what it shows is what they print."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.sandbox.kafka import EmbeddedKafka
from tests.command_page import EXAMPLES, PAGE, commands, outputs, page
from tests.docs.commands import ROOT


def test_every_command_has_an_example() -> None:
    """One that is new gets a line in tests/command_page.py, and the page is written anew."""
    assert set(EXAMPLES) == {name for name, _ in commands()}
    assert all(typed.startswith(name) for name, typed in EXAMPLES.items())


def test_the_readme_s_table_leads_to_the_page() -> None:
    """Each command is in the table, and the page is linked beside it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text[text.index("| command ([what each prints](docs/commands.md))") : text.index("## Deploy it")]
    assert [name for name, _ in commands() if f"`streams {name.split()[0]}" not in table] == []


@pytest.mark.kafka
@pytest.mark.timeout(600)  # two dozen commands in a row, on a machine that has much else to do
def test_the_page_shows_what_the_commands_print(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """Every example is typed again; times, ids and addresses apart, the page is the same to the letter."""
    made = page(asyncio.run(outputs(kafka.bootstrap_servers, unique_name("page"), tmp_path)))
    assert PAGE.read_text(encoding="utf-8") == made, "python -m tests.command_page writes it anew"
