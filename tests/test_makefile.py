"""What `make` sets up with, on machines that have other Pythons than ours."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: pyenv's command for a version that is installed and not chosen.
DEAD_SHIM = 'echo "pyenv: python3.11: command not found" >&2; exit 127'
#: A Python of that version: what is asked of it is answered by this one, its version replaced.
VERSION = """case "$1" in
-c) exec {real} -c "import sys; sys.version_info = ({version}, 0); $2" ;;
*) echo "$0 $*" >>{log}; exit 3 ;;
esac"""
WITHOUT_VENV = VERSION.replace("import sys;", "import sys; sys.modules['ensurepip'] = None;")


class Machine:
    """A machine whose commands are what this test says, and make."""

    def __init__(self, folder: Path) -> None:
        self.commands = folder / "bin"
        self.commands.mkdir()
        self._log = folder / "log"
        self._venv = folder / "venv"
        for name in ("make", "sh", "echo", "test"):
            program = shutil.which(name)
            assert program is not None
            (self.commands / name).symlink_to(program)

    def has(self, name: str, script: str) -> None:
        """Give it a command, by the text of a shell script."""
        path = self.commands / name
        text = script.replace("{real}", sys.executable).replace("{log}", str(self._log))
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def make(self, *variables: str) -> subprocess.CompletedProcess[str]:
        """Have the environment made, as far as the Python that is to do it."""
        return subprocess.run(
            ["make", f"VENV={self._venv}", *variables, f"{self._venv}/bin/python"],
            cwd=ROOT,
            env={"PATH": str(self.commands)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def asked(self) -> list[str]:
        """The commands that were told to make the environment, by name."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        assert all(line.endswith(f" -m venv --clear {self._venv}") for line in lines)
        return [os.path.basename(line.split()[0]) for line in lines]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without any Python."""
    return Machine(tmp_path)


def version(number: str) -> str:
    return VERSION.replace("{version}", number.replace(".", ", "))


@pytest.mark.parametrize("number", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("name", ["python3", "python"])
def test_each_version_will_do_whatever_it_is_called(machine: Machine, name: str, number: str) -> None:
    """The one Python of a machine is taken, if the locked packages have wheels for it."""
    machine.has(name, version(number))
    machine.make()
    assert machine.asked == [name]


def test_a_command_that_does_not_run_is_passed_over(machine: Machine) -> None:
    """The python3.11 of pyenv for a version that is not chosen only complains: the next command is asked."""
    machine.has("python3.11", DEAD_SHIM)
    machine.has("python3", version("3.13"))
    done = machine.make()
    assert machine.asked == ["python3"]
    assert "pyenv" not in done.stderr


def test_a_python_that_cannot_make_an_environment_is_passed_over(machine: Machine) -> None:
    """Debian's python3 has no ensurepip without the package python3-venv."""
    machine.has("python3.12", WITHOUT_VENV.replace("{version}", "3, 12"))
    machine.has("python3", version("3.11"))
    machine.make()
    assert machine.asked == ["python3"]


@pytest.mark.parametrize("number", [None, "2.7", "3.10", "3.15"])
def test_without_a_python_that_fits_there_is_one_sentence(machine: Machine, number: str | None) -> None:
    """No Python, one that is too old and one that is too new: what is needed, and how to name it."""
    if number is not None:
        machine.has("python3", version(number))
    done = machine.make()
    assert done.returncode == 2
    assert machine.asked == []
    sentence, make_s_own = done.stderr.splitlines()
    assert sentence.startswith("Needed is Python 3.11, 3.12, 3.13 or 3.14 ")
    assert sentence.endswith("make PYTHON=/path/to/python3")
    assert make_s_own.startswith("make: ***")


def test_a_python_can_be_named(machine: Machine) -> None:
    """PYTHON=... is asked alone, and named if it does not fit."""
    machine.has("python3", version("3.11"))
    machine.has("mine", version("3.12"))
    machine.has("old", version("3.9"))
    machine.make("PYTHON=mine")
    assert machine.asked == ["mine"]
    assert "none of these commands runs one: old." in machine.make("PYTHON=old").stderr


def test_an_environment_whose_python_has_gone_is_made_anew(machine: Machine, tmp_path: Path) -> None:
    """After an upgrade of the machine the environment's python leads nowhere; everything seems installed."""
    machine.has("python3", version("3.13"))
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").symlink_to(tmp_path / "gone")
    stamp = tmp_path / "venv/.installed"
    stamp.touch()
    subprocess.run(
        ["make", f"VENV={tmp_path}/venv", str(stamp)],
        cwd=ROOT,
        env={"PATH": str(machine.commands)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert machine.asked == ["python3"]


@pytest.mark.parametrize(
    ("code", "asked", "ends"),
    [
        (0, ["build", "build"], 0),
        (3, ["build", "pip", "build"], 0),  # no compiler: it comes from PyPI
        (1, ["build", "build"], 2),  # the compiler failed: the second time it is said
    ],
)
def test_the_native_pass_is_compiled_with_what_is_there(
    tmp_path: Path, code: int, asked: list[str], ends: int
) -> None:
    """Only a machine without a C compiler gets the package that has one."""
    python, stamp, log = tmp_path / "bin/python", tmp_path / ".installed", tmp_path / "log"
    python.parent.mkdir()
    python.write_text(
        f"""#!/bin/sh
case "$2" in
pip) echo pip >>{log}; : >{tmp_path}/compiler ;;
streams.native.build) echo build >>{log}; [ -e {tmp_path}/compiler ] || exit {code} ;;
esac
"""
    )
    python.chmod(0o755)
    stamp.touch()
    done = subprocess.run(
        ["make", f"VENV={tmp_path}", "native"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert log.read_text().split() == asked
    assert done.returncode == ends


@pytest.mark.parametrize(("made_at", "asked"), [(0, "build\nbuild\n"), (1 << 32, "")])
def test_the_native_pass_is_compiled_again_when_its_sources_are_new(
    tmp_path: Path, made_at: int, asked: str
) -> None:
    """After an update, whatever is run first compiles it; nobody goes on in Python unseen."""
    python, log = tmp_path / "bin/python", tmp_path / "log"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\n[ "$2" = pip ] || echo build >>{log}\n')
    python.chmod(0o755)
    log.touch()
    (tmp_path / ".installed").touch()
    ready = tmp_path / ".ready"
    ready.touch()
    os.utime(tmp_path / ".installed", (made_at - 1, made_at - 1))
    os.utime(ready, (made_at, made_at))
    subprocess.run(
        ["make", f"VENV={tmp_path}", "-o", f"{tmp_path}/.installed", str(ready)], cwd=ROOT, check=True
    )
    assert log.read_text() == asked
