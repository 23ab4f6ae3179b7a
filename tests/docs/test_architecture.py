"""The architecture names rooms, modules and functions as they are."""

import re

from tests.docs.commands import ROOT
from tests.test_structure import SOURCES, TIER, TIERS

TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
CODE = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES.values())


def test_each_room_is_described_and_no_other() -> None:
    """The table of rooms has a line for each folder of streams/."""
    described = re.findall(r"^\| `(\w+)/` \| [^|]+ \| [^|]+ \|$", TEXT, re.MULTILINE)
    assert described == [room for room in TIER if (ROOT / "streams" / room).is_dir()]


def test_the_order_of_imports_is_the_one_that_is_held() -> None:
    """The tiers stand there as the test of the structure has them."""
    assert " ".join(f"({', '.join(rooms)})" for rooms in TIERS) in TEXT


def test_modules_that_it_names_exist() -> None:
    """A path of a module leads to one."""
    named = set(re.findall(r"`((?:streams/|tests/)?\w+(?:/\w+)*\.py)`", TEXT))
    assert len(named) > 20
    assert {
        path for path in named if not ((ROOT / path).exists() or (ROOT / "streams" / path).exists())
    } == set()


def test_classes_and_methods_that_it_names_exist() -> None:
    """Classes and methods that it calls by name are in the code."""
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*(?:\.\w+)?)`", TEXT))
    assert len(named) > 15
    for name in named:
        owner, _, method = name.partition(".")
        assert re.search(rf"^class {owner}\b", CODE, re.MULTILINE), name
        assert not method or re.search(rf"^    (?:async )?def {method}\b", CODE, re.MULTILINE), name
