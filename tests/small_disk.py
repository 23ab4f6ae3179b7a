"""A disk that is small enough to be filled: a tmpfs of its own on a folder. To mount one takes root."""

import subprocess
from contextlib import suppress
from pathlib import Path


def mount(folder: Path, mebibytes: int) -> bool:
    """Mount a disk of this size on a folder; return whether this user may."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    """Take the disk away, also from a process that still has files open on it."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room on the disk; return the file that takes it."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast
