"""Bridges as processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from streams.sandbox.supervised import SupervisedProcesses
from streams.sandbox.worker import ServingProcess


class BridgeProcess(ServingProcess):
    """One ``python -m examples.proca actions``, or ``statuses``, with a log and a web port of its own."""

    def __init__(
        self,
        processes: SupervisedProcesses,
        command: str,
        folder: Path,
        settings: Mapping[str, object],
        name: str = "",
    ) -> None:
        """Describe a bridge by its command and its settings without prefix; nothing runs yet.

        Raises:
            SandboxError: there is no free port.
        """
        environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("BRIDGE_")},
            **{f"BRIDGE_{key.upper()}": str(value) for key, value in settings.items()},
        }
        argv = [sys.executable, "-m", "examples.proca", command]
        super().__init__(processes, name or f"bridge-{command}", argv, environ, folder, "BRIDGE_")

    @property
    def ready(self) -> bool:
        """Whether /readyz says so."""
        return self.get("/readyz")[0] == 200
