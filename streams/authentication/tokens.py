"""Tokens for SASL/OAUTHBEARER: fetched in a thread, and renewed before they end.

One provider serves all clients of a process, on whatever event loop they run. Its thread begins with the
first question for a token, and ends when nobody holds the provider any more. While no new token is to be had,
the old one serves until it ends.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

log = logging.getLogger(__name__)

#: A token is renewed when this share of its lifetime is over.
RENEW_AT = 0.8
#: Seconds that one attempt to fetch a token may take.
FETCH_WITHIN = 5.0
#: Seconds between two attempts after a failure: the first pause, which doubles up to the longest.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
#: Seconds after which the thread looks whether the process ends.
_LOOK_EVERY = 0.25


class NoToken(KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """There is no token. To aiokafka, the broker cannot be connected to. The text is one sentence."""

    def __str__(self) -> str:
        """Return the sentence alone."""
        return str(self.args[0])

    def again(self) -> NoToken:
        """Return the same for somebody else: each raised exception has a traceback of its own."""
        return type(self)(*self.args)


class TokenUnavailable(NoToken):
    """The token server does not answer, or not now: it may pass."""


class TokenRefused(NoToken):
    """The token server refuses what the settings say: waiting does not help."""


class Token(NamedTuple):
    """A token as it was fetched."""

    text: str
    lifetime: float  # seconds


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """Gives aiokafka's clients a token that is valid."""

    def __init__(
        self,
        fetch: Callable[[], Token],
        extensions: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a provider; nothing is fetched before the first question.

        Args:
            fetch: gets a new token. It runs in a thread of its own and may take `FETCH_WITHIN` seconds; what
                it raises other than NoToken is told by the name of its class alone.
            extensions: SASL extensions (RFC 7628) that a broker wants beside the token.
            clock: gives seconds.
        """
        self._fetch = fetch
        self._extensions = dict(extensions or {})
        self._clock = clock
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiters: list[Future[str]] = []
        self._token: str | None = None
        self._ends_at = self._fetch_at = 0.0
        self._pause = FIRST_PAUSE
        self._failure: NoToken | None = None  # of the last attempt
        weakref.finalize(self, self._awake.set)

    @property
    def problem(self) -> str | None:
        """What the last attempt failed for, a sentence; the old token may still serve."""
        return None if self._failure is None else str(self._failure)

    @property
    def fault(self) -> str | None:
        """Why there is no valid token, a sentence; None while there is one, or nobody has asked yet."""
        return None if self._valid() else self.problem

    def _valid(self) -> bool:
        return self._token is not None and self._clock() < self._ends_at

    async def token(self) -> str:
        """Return a valid token at once, or wait for the attempt that is under way.

        Raises:
            TokenUnavailable: the attempt failed, may succeed later, and no earlier token is valid.
            TokenRefused: the same, and the settings are to be mended.
        """
        waiter: Future[str] = Future()
        with self._lock:
            if self._valid():
                assert self._token is not None
                return self._token
            if self._failure is not None and self._clock() < self._fetch_at:
                raise self._failure.again()  # not an attempt for each connection of each client
            self._waiters.append(waiter)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_renew, args=(weakref.ref(self), self._awake), name="token"
                )
                self._thread.start()
            self._awake.set()
        try:
            async with asyncio.timeout(FETCH_WITHIN + 1.0):
                return await asyncio.wrap_future(waiter)
        except TimeoutError:
            raise TokenUnavailable(f"no token came within {FETCH_WITHIN + 1.0:g} s") from None

    def extensions(self) -> dict[str, str]:
        """Return what aiokafka sends beside the token."""
        return self._extensions

    def renew_if_due(self) -> float:
        """Fetch a token if it is time to; return the seconds until the next time. Blocks: for the thread."""
        with self._lock:
            due_in = self._fetch_at - self._clock()
        if due_in > 0:
            return due_in
        began = self._clock()
        try:
            text, lifetime = self._fetch()
            failure: NoToken | None = None
        except NoToken as error:
            failure = error
        except Exception as error:  # whatever a library raises; its text may hold a secret
            failure = TokenUnavailable(f"no token can be made ({type(error).__name__})")
        with self._lock:
            if failure is None:
                self._token, self._ends_at = text, began + lifetime
                self._fetch_at = began + RENEW_AT * lifetime
                self._pause = FIRST_PAUSE
            else:
                self._fetch_at = self._clock() + self._pause
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            said, self._failure = self.problem, failure
            waiters, self._waiters = self._waiters, []
            serves = max(0.0, self._ends_at - self._clock())
            due_in = self._fetch_at - self._clock()
        for waiter in waiters:
            if waiter.set_running_or_notify_cancel():
                if failure is None:
                    waiter.set_result(text)
                else:
                    waiter.set_exception(failure.again())
        _tell(said, self.problem, serves)
        return due_in


def _tell(said: str | None, problem: str | None, serves: float) -> None:
    """Log what is new, once."""
    if problem is not None and problem != said:
        log.warning(
            "the token for Kafka was not renewed: %s; the old one serves for %.0f s more",
            problem,
            serves,
            extra={"event": "token_not_renewed"},
        )
    elif problem is None and said is not None:
        log.info("the token for Kafka is renewed again", extra={"event": "token_renewed"})


def _renew(provider: weakref.ref[TokenProvider], awake: threading.Event) -> None:
    """Keep a provider's token valid until nobody holds the provider, or the process ends.

    The interpreter waits for this thread at its end. One that it does not wait for may be within the TLS
    library while that is taken down, which ends the process by SIGSEGV.
    """
    main = threading.main_thread()
    while main.is_alive() and (held := provider()) is not None:
        awake.clear()
        due_in = held.renew_if_due()
        del held
        awake.wait(min(due_in, _LOOK_EVERY))
