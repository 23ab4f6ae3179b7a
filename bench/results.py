"""All rounds of a run, with the machine and the versions that they were made on."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import java_peer, quix_environment
from bench.rounds import Round
from streams.native.build import library_path
from streams.sandbox.kafka.jars import KAFKA_VERSION

_PACKAGES = (
    "faust-streaming",
    "aiokafka",
    "aiohttp",
    "httpx",
    "httpx-aiohttp",
    "msgspec",
    "orjson",
    "rocksdict",
)


def machine() -> dict[str, str | int | float]:
    """What it ran on."""
    model, memory = platform.machine(), 0
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except OSError:
        pass
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Python, the packages that do the work, and the peers."""
    quix = quix_environment.LOCK.read_text(encoding="utf-8").partition("quixstreams==")[2]
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
        "native pass": "built" if library_path().exists() else "not built",
        "kafka and kafka-streams": KAFKA_VERSION,
        "flink": java_peer.FLINK_VERSION,
        "quixstreams": quix.split()[0],
    }


@dataclass(slots=True)
class Measured:
    """One scenario's rounds."""

    title: str
    rounds: list[Round] = field(default_factory=list)

    def cases(self) -> list[str]:
        """The labels of its cases, in order."""
        return list(dict.fromkeys(each.case for each in self.rounds))

    def contenders(self, case: str) -> list[str]:
        """Who took part in a case, in order."""
        return list(dict.fromkeys(each.contender for each in self.rounds if each.case == case))

    def series(self, figure: str, contender: str = "ours", case: str | None = None) -> list[float]:
        """One figure of one contender in a case (None: in any), round by round."""
        return [
            each.figures[figure]
            for each in self.rounds
            if each.contender == contender and case in (None, each.case) and figure in each.figures
        ]

    def pairs(
        self, figure: str, one: tuple[str, str | None], other: tuple[str, str | None]
    ) -> list[tuple[float, float]]:
        """A figure of two (contender, case), round by round, where both have it; a case None: any."""
        there = self._by_round(figure, *other)
        return [(value, there[n]) for n, value in self._by_round(figure, *one).items() if n in there]

    def _by_round(self, figure: str, contender: str, case: str | None) -> dict[int, float]:
        return {
            each.number: each.figures[figure]
            for each in self.rounds
            if each.contender == contender and case in (None, each.case) and figure in each.figures
        }


@dataclass(slots=True)
class Results:
    """A whole run."""

    scale: str
    machine: dict[str, Any] = field(default_factory=machine)
    versions: dict[str, str] = field(default_factory=versions)
    settings: dict[str, Any] = field(default_factory=dict)
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    seconds: float = 0.0
    skipped: dict[str, str] = field(default_factory=dict)  # contender: why
    scenarios: dict[str, Measured] = field(default_factory=dict)

    def core_speeds(self) -> list[float]:
        """What one core gave just before each round, where it was taken; once for a round's cases."""
        rounds = (each for measured in self.scenarios.values() for each in measured.rounds)
        return list({each.core_speed for each in rounds if each.core_speed})

    def failures(self) -> list[str]:
        """Everything that went wrong: a process that failed, an output that is not right."""
        return [
            f"{name}: {each.contender}{f' ({each.case})' if each.case else ''}: {problem}"
            for name, scenario in self.scenarios.items()
            for each in scenario.rounds
            for problem in each.problems
        ]

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what was kept.

        Raises:
            OSError: there is no such file.
        """
        kept = json.loads(path.read_text(encoding="utf-8"))
        kept["scenarios"] = {
            name: Measured(each["title"], [Round(**one) for one in each["rounds"]])
            for name, each in kept["scenarios"].items()
        }
        return cls(**kept)
