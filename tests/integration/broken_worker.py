"""``streams worker`` in which something breaks at the first status row, or at one action. Run as a process.

Its argument says what. The real thing cannot be made to do any of it from outside.
"""

import sys
import threading
from typing import Any

import streams.app
from streams.__main__ import main
from streams.actions.processor import ActionProcessor
from streams.delivery.results import Result
from streams.statuses.ingest import StatusIngest


async def fails(self: Any, chunk: Any) -> None:
    """Meet a bug."""
    raise LookupError(chunk)


async def ends(self: Any, chunk: Any) -> None:
    """Let the agent's loop over its stream end."""
    streams.app.app.agents["ingest_statuses"].cancel()


async def blocks(self: Any, chunk: Any) -> None:
    """Stop the event loop of the consumer's thread."""
    streams.app.app.consumer._thread.thread_loop.call_soon_threadsafe(threading.Event().wait)


process = ActionProcessor.process


def loses(self: ActionProcessor, record: Any) -> Any:
    """Take the action that tests/outages sends, and write nothing for it."""
    lost = record.value is not None and b'"comment":"lose this one"' in record.value
    return Result(None, "lost") if lost else process(self, record)


if __name__ == "__main__":
    way = sys.argv.pop()
    if way == "loses":
        ActionProcessor.process = loses  # type: ignore[method-assign]
    else:
        ways = {"fails": fails, "ends": ends, "blocks": blocks}
        StatusIngest.ingest = ways[way]  # type: ignore[method-assign]
    main(["worker"])
