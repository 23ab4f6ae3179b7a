"""The pages of a worker: /metrics, /livez, /readyz, and the live page at /."""

import socket
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import orjson
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streams.observability.page.live import LivePage
from streams.observability.web_limits import SharedRendering, protect

#: Returns why not, one sentence each; empty: all is well.
Check = Callable[[], list[str]]


def add_pages(
    app: Any,
    *,
    registry: Any,
    alive: Check,
    ready: Check,
    live: LivePage | None = None,
    host_names: Collection[str] = (),
) -> None:
    """Add the pages to a Faust `app`.

    Args:
        app: the Faust app.
        registry: the Prometheus registry to show.
        alive: why this process should be restarted. A dead lookup or a broker that is away is no reason.
        ready: why this worker does not do its work now.
        live: the page at /.
        host_names: by which the pages may be asked for, besides local ones and this machine's own.
    """
    protect(app.web, {name.lower() for name in (*host_names, socket.gethostname())})
    rendering = SharedRendering(partial(generate_latest, registry))
    if live is not None:
        live.add_to(app.web.web_app)  # before Faust's own, so that it is found first

    @app.page("/metrics")  # type: ignore[untyped-decorator]  # Faust ships no types
    async def metrics(view: Any, _request: Any) -> Any:
        return view.bytes(rendering.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    @app.page("/livez")  # type: ignore[untyped-decorator]  # Faust ships no types
    async def livez(view: Any, _request: Any) -> Any:
        return _answer(view, alive(), "alive")

    @app.page("/readyz")  # type: ignore[untyped-decorator]  # Faust ships no types
    async def readyz(view: Any, _request: Any) -> Any:
        return _answer(view, ready(), "ready")


def _answer(view: Any, problems: list[str], good: str) -> Any:
    body = orjson.dumps({good: not problems, "problems": problems}) + b"\n"
    return view.bytes(body, content_type="application/json", status=503 if problems else 200)
