"""The plot of the incident."""

import importlib.util
from pathlib import Path
from typing import Any

from tests.docs.commands import ROOT

GROUPS = {"affected": {"actions": 2, "emails": 2}, "healthy organisation": {"actions": 1, "emails": 1}}
DRILL = {
    "modes": {
        "healthy": {"groups": GROUPS, "as_it_was": {"sent": {"affected": 2, "healthy organisation": 1}}},
        "hanging": {"groups": GROUPS, "as_it_was": {"sent": {"affected": 0, "healthy organisation": 0}}},
    }
}


def incident() -> Any:
    """Return the script, which is in no package."""
    spec = importlib.util.spec_from_file_location("incident", ROOT / "docs/incident.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_counts_the_emails_of_all_groups() -> None:
    """Of each way in which the lookup died: what a consumer that awaits it sent, and what this app did."""
    assert incident().emails(DRILL) == [("Lookup healthy", 3, 3, 3), ("Lookup hangs", 3, 0, 3)]


def test_the_same_drill_gives_the_same_plot(tmp_path: Path) -> None:
    """The file changes only when what it shows does."""
    script = incident()
    for name in ("one.svg", "two.svg"):
        script.draw(DRILL, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
