"""A real Prometheus in a process of its own, that scrapes what a test names."""

import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from streams.sandbox.ports import free_port


class Refused(ValueError):
    """Prometheus refuses a query; the message is its own."""


class Prometheus:
    """Debian's Prometheus, which scrapes until the `with` ends; its log is kept in `folder`."""

    def __init__(
        self,
        program: str,
        folder: Path,
        jobs: Mapping[str, Sequence[str]],
        rules: Iterable[Path] = (),
        every: int = 1,
    ) -> None:
        """Scrape the targets of each job and evaluate the rules, both `every` so many seconds."""
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "prometheus.log"
        configuration = {
            "global": dict.fromkeys(
                ("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{every}s"
            ),
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(targets)}]}
                for job, targets in jobs.items()
            ],
        }
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(configuration))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={file}",
                    f"--storage.tsdb.path={folder / 'prometheus'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def ask(self, end: str, /, **parameters: str | list[str]) -> Any:
        """Return the answer of one of the API's ends.

        Raises:
            Refused: it answers with an error.
            OSError: nobody listens.
        """
        url = f"{self.url}/api/v1/{end}?{urllib.parse.urlencode(parameters, doseq=True)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise Refused(error.read().decode()) from error

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and value of each sample that an expression has now; NaN is none.

        Raises:
            Refused: the expression is wrong.
        """
        answer = self.ask("query", query=expression)
        if answer["resultType"] == "scalar":
            return [({}, float(answer["result"][1]))]
        found = [(sample["metric"], float(sample["value"][1])) for sample in answer["result"]]
        return [(labels, value) for labels, value in found if not math.isnan(value)]

    def wait(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Wait until `condition` holds; a query that is refused, or not answered yet, is not it."""
        until = time.monotonic() + seconds
        problem: Exception | None = None
        while time.monotonic() < until:
            try:
                if condition():
                    return
            except OSError as error:
                problem = error
            time.sleep(0.1)
        raise AssertionError(f"did not happen in {seconds} s: {problem}\n{self._log.read_text()}")
