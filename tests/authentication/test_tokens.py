"""Tokens are fetched once for all, renewed in time, and serve until they end."""

import asyncio
import gc
import threading
import weakref

import pytest

from streams.authentication.tokens import Token, TokenProvider, TokenRefused, TokenUnavailable
from tests.timing import Clock

DOWN = "the token server at idp.example.org cannot be reached"


class Source:
    """Gives the next of its replies; the last one again and again."""

    def __init__(self, *replies: Token | Exception) -> None:
        self.replies = list(replies)
        self.asked = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self) -> Token:
        self.open.wait(30)
        reply = self.replies[min(self.asked, len(self.replies) - 1)]
        self.asked += 1
        if isinstance(reply, Exception):
            raise reply
        return reply


async def test_clients_that_ask_at_once_get_one_token() -> None:
    """Before the first question nothing is fetched, and all who wait get what one attempt brings."""
    source = Source(Token("first", 100))
    provider = TokenProvider(source, {"logicalCluster": "lkc-1"})
    assert (source.asked, provider.fault) == (0, None)
    source.open.clear()
    waiting = [asyncio.create_task(provider.token()) for _ in range(5)]
    await asyncio.sleep(0)
    source.open.set()
    assert await asyncio.gather(*waiting) == ["first"] * 5
    assert source.asked == 1
    assert provider.extensions() == {"logicalCluster": "lkc-1"}


async def test_a_token_is_renewed_before_it_ends() -> None:
    """At 80 % of its lifetime a new one is fetched, and not earlier."""
    clock, source = Clock(1_000), Source(Token("first", 100), Token("second", 100))
    provider = TokenProvider(source, clock=clock)
    assert provider.renew_if_due() == 80
    clock.now += 79
    assert provider.renew_if_due() == 1
    assert await provider.token() == "first"
    clock.now += 1
    provider.renew_if_due()
    assert await provider.token() == "second"


async def test_the_old_token_serves_while_no_new_one_is_to_be_had(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once what is wrong; when the token has ended, that is the reason; then all is well again."""
    down = TokenUnavailable(DOWN)
    clock, source = Clock(1_000), Source(Token("first", 100), down, down, down, Token("second", 100))
    provider = TokenProvider(source, clock=clock)
    provider.renew_if_due()
    clock.now += 80
    assert provider.renew_if_due() == 1
    assert (await provider.token(), provider.fault, provider.problem) == ("first", None, DOWN)
    clock.now += 1
    assert provider.renew_if_due() == 2  # the pauses grow
    clock.now += 19
    provider.renew_if_due()
    assert provider.fault == DOWN
    with pytest.raises(TokenUnavailable, match=DOWN):
        await provider.token()
    assert source.asked == 4, "a client that asks does not press the server"
    clock.now += 4
    provider.renew_if_due()
    assert (await provider.token(), provider.fault, provider.problem) == ("second", None, None)
    assert [record.event for record in caplog.records] == ["token_not_renewed"]  # type: ignore[attr-defined]  # its extra


async def test_a_refusal_reaches_everybody_who_waits() -> None:
    """Each gets an error of its own with the sentence alone."""
    provider = TokenProvider(Source(TokenRefused("no such client")))
    errors = await asyncio.gather(*(provider.token() for _ in range(3)), return_exceptions=True)
    assert [(type(each), str(each)) for each in errors] == [(TokenRefused, "no such client")] * 3


async def test_what_a_library_raises_is_told_without_its_text() -> None:
    """The text of an error may hold a secret."""
    provider = TokenProvider(Source(RuntimeError("open-sesame")))
    with pytest.raises(TokenUnavailable) as error:
        await provider.token()
    assert str(error.value) == "no token can be made (RuntimeError)"


async def test_the_thread_ends_with_its_provider() -> None:
    """Whoever lets go of a provider leaves no thread behind."""
    provider = TokenProvider(Source(Token("first", 1e6)))
    await provider.token()
    thread, gone = provider._thread, weakref.ref(provider)
    assert thread is not None
    del provider
    gc.collect()
    await asyncio.to_thread(thread.join, 20)
    assert not thread.is_alive()
    assert gone() is None
