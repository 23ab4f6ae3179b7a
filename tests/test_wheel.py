"""The package as `pip install` gets it: what is in the wheel, and what documents and sentences say of it."""

import re
import subprocess
import sys
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.docs.commands import documents

ROOT = Path(__file__).parent.parent
#: An extra of the package, as documents and error messages name it.
_EXTRA = re.compile(r"confirmation-streams\[([a-z,]+)\]")


class Wheel:
    """A wheel's files and metadata."""

    def __init__(self, path: Path) -> None:
        with ZipFile(path) as archive:
            self.files = {name for name in archive.namelist() if ".dist-info/" not in name}
            (about,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            self.metadata: Message = Parser().parsestr(archive.read(about).decode())
            (licence,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
            self.licence = archive.read(licence)
            (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
            self.entry_points = archive.read(entry).decode()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """The wheel of this checkout; what builds it is installed, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return Wheel(path)


def test_the_wheel_has_the_package_and_nothing_else(wheel: Wheel) -> None:
    """Every module, and the files that the worker's page is made of; no tests, bench or example."""
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "streams").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wheel.files == ours
    assert any(name.endswith(".html") for name in ours)
    assert "streams = streams.__main__:main" in wheel.entry_points


def test_the_versions_of_python_are_those_that_the_tests_pass_with(wheel: Wheel) -> None:
    """The package's page lists them; an older Python is refused by pip."""
    classifiers = wheel.metadata.get_all("Classifier") or []
    listed = [each.rpartition(" ")[2] for each in classifiers if re.search(r":: 3\.\d+$", each)]
    assert listed == ["3.11", "3.12", "3.13"]
    assert wheel.metadata["Requires-Python"] == ">=3.11"


def test_the_licence_is_in_the_wheel_and_named_by_its_spdx_name(wheel: Wheel) -> None:
    """Apache-2.0, with the whole text, which is that of the repository's root."""
    assert wheel.metadata["License-Expression"] == "Apache-2.0"
    assert wheel.licence == (ROOT / "LICENSE").read_bytes()
    assert b"Apache License\n                           Version 2.0, January 2004" in wheel.licence
    assert b"limitations under the License." in wheel.licence


def named_extras() -> set[tuple[str, str]]:
    """Where an extra of the package is named, and which."""
    texts = [*documents(), *(ROOT / "streams").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    return {
        (str(path.relative_to(ROOT)), extra)
        for path in texts
        for found in _EXTRA.findall(path.read_text("utf-8"))
        for extra in found.split(",")
    }


def test_an_extra_that_is_named_somewhere_exists(wheel: Wheel) -> None:
    """What a document or a sentence tells people to install can be installed."""
    extras = set(wheel.metadata.get_all("Provides-Extra") or [])
    assert {extra for _, extra in named_extras()} <= extras


def test_no_page_says_that_the_package_has_the_mailer(wheel: Wheel) -> None:
    """The example mailer is in the repository only; the extra of that name has what it needs."""
    assert not any("mailer" in name for name in wheel.files if not name.startswith("streams/sandbox/"))
    assert [place for place, extra in named_extras() if extra == "mailer"] == []
