"""One organisation's lookup service, which also counts how often it was asked."""

from __future__ import annotations

from types import TracebackType

from aiohttp import web

from streams.sandbox.demo.lookup_service import Behaviour, LookupService


class Crm(LookupService):
    """As a context manager, starts and stops. ``questions``: how many it was asked."""

    def __init__(self, behaviour: Behaviour) -> None:
        """Describe one that behaves so from the start."""
        super().__init__()
        self.behaviour = behaviour
        self.questions = 0

    async def _answer(self, request: web.Request) -> web.Response:
        self.questions += 1
        return await super()._answer(request)

    def __enter__(self) -> Crm:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
