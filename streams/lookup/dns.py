"""Names to addresses, on a thread that nothing else ever waits for.

asyncio's own ``getaddrinfo`` runs on the loop's shared pool of a handful of threads, so a few organisations
whose name servers hang would leave no thread for anybody else's names. Here each resolution has a thread of
its own. aiohttp asks for a name once at a time per connector, so there is at most one such thread per
organisation and name. They are daemon threads: a name server that hangs does not keep the process from
ending.
"""

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class Resolver(AbstractResolver):
    """aiohttp's resolver over ``socket.getaddrinfo``: ``/etc/hosts``, ``/etc/resolv.conf``, nsswitch."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of ``host``.

        Raises:
            OSError: there are none (``socket.gaierror``).
            UnicodeError: ``host`` cannot be a host name.
        """
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

        def settle(infos: list[tuple[Any, ...]] | None, error: Exception | None) -> None:
            if found.done():
                return
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(infos or [])

        def look() -> None:
            infos, error = None, None
            try:
                infos = socket.getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
                )
            except Exception as exc:
                error = exc
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(settle, infos, error)

        threading.Thread(target=look, name="lookup-dns", daemon=True).start()
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=found_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, proto, _, address in await found
        ]

    async def close(self) -> None:
        """Nothing to release: an unfinished resolution ends on its own thread."""
