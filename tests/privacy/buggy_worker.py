"""``streams worker`` with bugs in it: exceptions that quote whole actions, wherever one could be raised.

Run as a process. The real thing cannot be made to fail that way from outside.
"""

import asyncio
import logging
from typing import Any

from streams.__main__ import main
from streams.lookup.client import LookupClient
from streams.messages.email import EmailWriter
from streams.statuses.ingest import StatusIngest

#: Organisations whose actions meet a bug.
WRITE, CLIENT, CALLBACK, LIBRARY = 901, 902, 903, 904
#: The status row that ends its agent.
LETHAL = b"lethal"

write, ask, read = EmailWriter.write, LookupClient.ask, StatusIngest._read


tasks: set[asyncio.Task[None]] = set()


async def fails(value: bytes) -> None:
    raise ValueError(f"in a task: {value!r}")


def raises(value: bytes) -> None:
    raise KeyError(value.decode())


def buggy_write(self: Any, offset: int, action: Any, value: bytes, *rest: Any) -> Any:
    match action.org_id:
        case 901:
            raise ValueError(f"no letter for {value.decode()}")
        case 903:
            loop = asyncio.get_running_loop()
            loop.call_soon(raises, value)
            tasks.add(loop.create_task(fails(value), name=f"task of {offset}"))
            tasks.clear()  # so that it is collected with its exception unread
        case 904:
            try:
                raises(value)
            except KeyError as exc:
                logging.getLogger("faust.agents").exception("Agent raised: %r", exc)
                logging.getLogger("streams.a.bug").error("it failed: %s", exc, extra={"event": "bug"})
                logging.getLogger("aiokafka.client").error("Unexpected: %s", exc)
                try:
                    raise RuntimeError("while it was handled") from exc
                except RuntimeError as chained:
                    logging.getLogger("streams.a.bug").exception(chained, extra={"event": "bug"})
    return write(self, offset, action, value, *rest)


async def buggy_ask(self: Any, question: Any, **more: Any) -> Any:
    if question.org_id == CLIENT:
        raise LookupError(question)
    return await ask(self, question, **more)


def buggy_read(self: Any, chunk: Any) -> Any:
    for record in chunk.records:
        if record.key and record.key.startswith(LETHAL):
            raise ValueError(record)
    return read(self, chunk)


if __name__ == "__main__":
    EmailWriter.write = buggy_write  # type: ignore[method-assign]  # the bug
    LookupClient.ask = buggy_ask  # type: ignore[method-assign,assignment]  # the bug
    StatusIngest._read = buggy_read  # type: ignore[method-assign]  # the bug
    main(["worker"])
