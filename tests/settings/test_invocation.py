"""A hint names the program as it can be typed where the hint is read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def hint(program: list[str], folder: Path, path: str = "") -> str:
    """What a wrong setting's sentence says is to be typed."""
    done = subprocess.run(
        [*program, "settings"],
        cwd=folder,
        env={"PATH": path or "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "STREAMS_QQQ": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr.partition("STREAMS_QQQ is no setting: `")[2].partition(" settings` lists them all")[0]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a virtual environment as make has it: a python, and beside it the installed command."""
    programs = tmp_path / "a checkout/.venv/bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    script = programs / "streams"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom streams.__main__ import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    return tmp_path / "a checkout"


def test_the_command_is_named_by_its_place(checkout: Path) -> None:
    """What is not on the path is typed from here."""
    assert hint([".venv/bin/streams"], checkout) == ".venv/bin/streams"


def test_the_command_on_the_path_is_named_alone(checkout: Path) -> None:
    """However it was found."""
    path = os.pathsep.join([str(checkout / ".venv/bin"), os.environ["PATH"]])
    assert hint([str(checkout / ".venv/bin/streams")], checkout, path) == "streams"


def test_from_elsewhere_the_whole_place_is_named(checkout: Path, tmp_path: Path) -> None:
    """A blank in it is quoted as a shell needs it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert hint([str(checkout / ".venv/bin/streams")], elsewhere) == f"'{checkout}/.venv/bin/streams'"


def test_a_module_is_run_by_the_same_python(checkout: Path) -> None:
    """`make demo` starts it so: a hint must not need another Python, or one on the path."""
    named = hint([sys.executable, "-m", "streams"], checkout)
    assert named == f"{sys.executable} -m streams"


def test_a_program_of_another_name_is_not_repeated() -> None:
    """Under a test runner, say, the command has its usual name."""
    code = "from streams.settings.invocation import invocation; print(invocation())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "streams\n"
