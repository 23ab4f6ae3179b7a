"""``streams worker`` with an agent that fails or ends at the first status row. Run as a process.

Its argument says which. The real thing cannot be made to do either from outside.
"""

import sys
from typing import Any

import streams.app
from streams.__main__ import main
from streams.statuses.ingest import StatusIngest


async def fails(self: Any, chunk: Any) -> None:
    """Meet a bug."""
    raise LookupError(chunk)


async def ends(self: Any, chunk: Any) -> None:
    """Let the agent's loop over its stream end."""
    streams.app.app.agents["ingest_statuses"].cancel()


if __name__ == "__main__":
    StatusIngest.ingest = {"fails": fails, "ends": ends}[sys.argv.pop()]  # type: ignore[method-assign]
    main(["worker"])
