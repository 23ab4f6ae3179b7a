"""The version: the package, its changelog, its images and its documents speak of one."""

import re
import tomllib
from datetime import date

from click.testing import CliRunner

from streams.__main__ import main
from tests.docs.commands import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
#: The kinds of changes that "Keep a Changelog" knows, in its order.
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
#: Where a version of one of our images is named.
NAMING = (
    "docker-compose.yml",
    "k8s/**/*.yaml",
    "k8s/README.md",
    "docs/*.md",
    "README.md",
    "examples/**/*.md",
)


def test_the_newest_version_of_the_changelog_is_that_of_the_package() -> None:
    """Below what is not released yet, from the newest to the oldest, each with its day."""
    first, *releases = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    assert first == "[Unreleased]"
    found = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", each) for each in releases]
    assert all(found), releases
    versions = [each[1] for each in found if each]
    days = [date.fromisoformat(each[2]) for each in found if each]
    assert versions[0] == VERSION
    assert versions == sorted(versions, key=lambda each: [*map(int, each.split("."))], reverse=True)
    assert days == sorted(days, reverse=True)


def test_the_changes_of_a_version_are_sorted_by_kind() -> None:
    """The kinds are those of the form, each at most once and in its order, and none is empty."""
    for part in CHANGELOG.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", part, re.MULTILINE)
        assert kinds == [each for each in KINDS if each in kinds]
        assert all(section.strip().count("\n* ") for section in part.split("\n### ")[1:])


def test_our_images_have_the_version_of_the_package() -> None:
    """In compose, in the manifests, and where a document names one."""
    paths = [path for pattern in NAMING for path in ROOT.glob(pattern)]
    named = {
        (str(path.relative_to(ROOT)), version)
        for path in paths
        for version in re.findall(r"confirmation-streams(?:-[a-z]+)?:([\w.-]+)", path.read_text())
    }
    assert {path for path, _ in named} >= {"docker-compose.yml", "k8s/base/stateful-set.yaml"}
    assert {version for _, version in named} == {VERSION}


def test_the_command_line_says_its_version() -> None:
    """As a report of a fault needs it."""
    result = CliRunner().invoke(main, ["--version"], prog_name="streams")
    assert result.stdout == f"streams, version {VERSION}\n"
