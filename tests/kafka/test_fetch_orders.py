"""Records between two threads: ordered by the app, and handed over by the consumer's thread."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from aiokafka.errors import ConsumerStoppedError, KafkaError, TopicAuthorizationFailedError
from faust.types import TP

from streams.kafka.fetch_orders import FetchOrders

T = TypeVar("T")

ONE, TWO = TP("actions", 1), TP("actions", 2)
#: Seconds that an order may take, where it is to end in another way.
LONG = 3_600.0


def _nothing() -> None: ...


class Fetcher:
    """What aiokafka's has of this. All is called in the thread's event loop."""

    def __init__(self) -> None:
        self._records: dict[TP, Any] = {}  # lists; or an error
        self._fetch_waiters: set[Any] = set()
        self._closed = False
        self._wait_consume_future: asyncio.Future[None] | None = None  # done: records were taken
        self._subscriptions = SimpleNamespace(
            reassignment_in_progress=False, _fetch_count=0, _last_fetch_ended=0.0
        )
        self.asked = 0  # times that records were asked for
        self.while_asked: Callable[[], None] = _nothing

    async def fetched_records(
        self, partitions: Collection[TP], timeout: float = 0, max_records: int | None = None
    ) -> dict[TP, list[int]]:
        assert timeout == 0
        assert not self._subscriptions.reassignment_in_progress, "it would wait for the next assignment"
        self.asked += 1
        self.while_asked()
        drained: dict[TP, list[int]] = {}
        left = len(self._records) * 1_000 if max_records is None else max_records
        for place in [each for each in self._records if each in partitions]:
            found = self._records[place]
            if isinstance(found, KafkaError):
                del self._records[place]
                self._tell_of(self._wait_consume_future)
                raise found
            taken, rest = found[:left], found[left:]
            left -= len(taken)
            if rest:
                self._records[place] = rest
            else:
                del self._records[place]
                self._tell_of(self._wait_consume_future)
            if taken:
                drained[place] = taken
        return drained

    def put(self, place: TP, *records: int) -> None:
        """A fetch brings these records; of none of them aiokafka finds that they are over, or not for it."""
        self._records.setdefault(place, []).extend(records)
        self.tell()

    def fail(self, place: TP, error: KafkaError) -> None:
        self._records[place] = error
        self.tell()

    def tell(self) -> None:
        for waiter in self._fetch_waiters:
            self._tell_of(waiter)

    @staticmethod
    def _tell_of(waiter: Any) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def close(self) -> None:
        self._closed = True
        self.tell()


class Bench:
    """Orders of a consumer whose thread runs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.failed: list[dict[str, Any]] = []  # callbacks in the thread
        self.loop.set_exception_handler(lambda _, context: self.failed.append(context))
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.fetcher = Fetcher()
        self.consumer = SimpleNamespace(_fetcher=self.fetcher, _closed=False, _max_poll_records=None)

        async def made() -> FetchOrders:
            return FetchOrders(self.consumer)

        self.orders = asyncio.run_coroutine_threadsafe(made(), self.loop).result()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    @property
    def waiting(self) -> int:
        """How many wait for records, as aiokafka counts them."""
        return int(self.fetcher._subscriptions._fetch_count)

    async def in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call it in the thread; what it hands over is here when this returns."""

        async def called() -> T:
            return call(*arguments)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(called(), self.loop))

    async def put(self, place: TP, *records: int) -> None:
        await self.in_thread(self.fetcher.put, place, *records)

    async def order(self, *places: TP, timeout: float = LONG) -> asyncio.Task[Any]:
        """Order records, as far as the wait for them."""
        task = asyncio.create_task(self.orders.next_records(places, timeout))
        await asyncio.sleep(0)
        assert self.waiting == 1
        return task

    async def answer(self, order: Awaitable[Any]) -> Any:
        """What an order gets; from then on nobody waits."""
        try:
            return await asyncio.wait_for(order, 30)
        finally:
            assert self.waiting == 0

    def end_in_app(self) -> Callable[[], None]:
        """What lets the app end its order, in its own loop, while the thread waits."""
        app = asyncio.get_running_loop()

        async def end() -> None:
            self.orders.end()

        return lambda: asyncio.run_coroutine_threadsafe(end(), app).result(30)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.stop()
    assert made.failed == []


async def works(bench: Bench) -> None:
    """The next order gets its records."""
    order = await bench.order(ONE)
    await bench.put(ONE, 99)
    assert await bench.answer(order) == {ONE: [99]}


# -- records ----------------------------------------------------------------------------------------------


async def test_records_that_come_after_the_order_are_handed_over(bench: Bench) -> None:
    """The thread hands them over as soon as it has them; meanwhile one waits, and then nobody."""
    for number in range(3):
        order = await bench.order(ONE, TWO)
        await bench.put(TWO, number, number + 10)
        assert await bench.answer(order) == {TWO: [number, number + 10]}


async def test_records_that_are_there_before_the_order_are_handed_over(bench: Bench) -> None:
    """They are not waited for once more."""
    await bench.put(ONE, 1, 2)
    await bench.put(TWO, 3)
    assert await bench.answer(bench.orders.next_records({ONE, TWO}, LONG)) == {ONE: [1, 2], TWO: [3]}


async def test_no_more_than_a_poll_s_records_are_handed_over_at_once(bench: Bench) -> None:
    """The next orders get what is left, though nothing more comes."""
    bench.consumer._max_poll_records = 2
    await bench.put(ONE, *range(5))
    taken = [await bench.answer(bench.orders.next_records({ONE}, LONG)) for _ in range(3)]
    assert taken == [{ONE: [0, 1]}, {ONE: [2, 3]}, {ONE: [4]}]


async def test_records_of_other_partitions_are_not_handed_over(bench: Bench) -> None:
    """They wait for an order of theirs, and wake nobody."""
    order = await bench.order(ONE)
    await bench.put(TWO, 2)
    assert not order.done()
    assert bench.fetcher.asked == 0
    await bench.put(ONE, 1)
    assert await bench.answer(order) == {ONE: [1]}
    assert await bench.answer(bench.orders.next_records([TWO], LONG)) == {TWO: [2]}


async def test_records_that_turn_out_to_be_none_leave_the_order_open(bench: Bench) -> None:
    """Where aiokafka drops what was fetched, as after a seek, the order waits for what comes next."""
    order = await bench.order(ONE)
    for asked in (1, 2, 3):
        await bench.put(ONE)
        assert bench.fetcher.asked == asked
        assert (order.done(), bench.waiting) == (False, 1)
    await bench.put(ONE, 1)
    assert await bench.answer(order) == {ONE: [1]}


@pytest.mark.parametrize("before", [True, False], ids=["fetched before", "fetched after"])
async def test_while_partitions_are_reassigned_nothing_is_handed_over(before: bool, bench: Bench) -> None:
    """Not even asked for: aiokafka would wait. When it is over, the next news serves the order."""
    bench.fetcher._subscriptions.reassignment_in_progress = True
    if before:
        await bench.put(ONE, 1)
    order = await bench.order(ONE)
    if not before:
        await bench.put(ONE, 1)
    await bench.in_thread(bench.fetcher.tell)
    assert (order.done(), bench.fetcher.asked, bench.waiting) == (False, 0, 1)
    bench.fetcher._subscriptions.reassignment_in_progress = False
    await bench.in_thread(bench.fetcher.tell)
    assert await bench.answer(order) == {ONE: [1]}


async def test_while_partitions_are_reassigned_an_order_can_end(bench: Bench) -> None:
    """The reassignment waits for that; the records stay where they are."""
    bench.fetcher._subscriptions.reassignment_in_progress = True
    order = await bench.order(ONE)
    await bench.put(ONE, 1)
    bench.orders.end()
    assert await bench.answer(order) == {}
    assert bench.fetcher._records == {ONE: [1]}


# -- what a fetch hands over by itself --------------------------------------------------------------------


async def fetched(bench: Bench, **records: Any) -> bool:
    """Let a fetch bring something, and hand it over without the fetcher; return whether somebody took it."""
    fetcher = bench.fetcher

    def hand_over() -> bool:
        fetcher._wait_consume_future = told = bench.loop.create_future()
        fetcher._records.update({TP("actions", int(name[-1])): found for name, found in records.items()})
        taken = bench.orders.hand_over()
        assert fetcher._wait_consume_future is told
        assert not told.done()
        return taken

    return await bench.in_thread(hand_over)


async def test_a_fetch_hands_over_what_it_has_brought_without_the_fetcher(bench: Bench) -> None:
    """The fetcher is not told that records were taken: who has fetched them looks himself."""
    order = await bench.order(ONE)
    assert await fetched(bench, of_1=[1, 2])
    assert await bench.answer(order) == {ONE: [1, 2]}


async def test_whoever_else_takes_records_tells_the_fetcher(bench: Bench) -> None:
    """As aiokafka does, so that it fetches the next ones."""
    told = bench.fetcher._wait_consume_future = bench.loop.create_future()
    order = await bench.order(ONE)
    await bench.put(ONE, 1)
    assert await bench.answer(order) == {ONE: [1]}
    assert told.done()


async def test_a_fetch_that_nobody_takes_from_says_so(bench: Bench) -> None:
    """Nothing is ordered, or other partitions are, or there are no records in the end."""
    assert not await fetched(bench, of_1=[1])
    order = await bench.order(TWO)
    assert not await fetched(bench, of_1=[1])
    assert not await fetched(bench, of_2=[])
    assert (order.done(), bench.waiting) == (False, 1)
    await bench.put(TWO, 2)
    assert await bench.answer(order) == {TWO: [2]}


async def test_a_fetch_that_has_failed_says_that_nobody_has_taken_records(bench: Bench) -> None:
    """The error reaches who ordered, and the fetcher has to look at everything again."""
    order = await bench.order(ONE)
    assert not await fetched(bench, of_1=TopicAuthorizationFailedError("actions"))
    with pytest.raises(TopicAuthorizationFailedError):
        await bench.answer(order)


# -- the end of an order ----------------------------------------------------------------------------------


async def test_an_order_without_records_ends_when_its_time_is_over(bench: Bench) -> None:
    """With nothing, and not before; what comes later is the next one's."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await bench.answer(bench.orders.next_records({ONE}, 0.05)) == {}
    assert loop.time() - begin >= 0.049
    await bench.put(ONE, 1)
    assert await bench.answer(bench.orders.next_records({ONE}, LONG)) == {ONE: [1]}


async def test_the_time_of_an_order_that_is_over_does_not_end_the_next_one(bench: Bench) -> None:
    """Its timer is gone with it, however it ended."""
    loop: Any = asyncio.get_running_loop()

    def timers() -> int:
        return sum(each._callback == bench.orders.end for each in loop._scheduled if not each.cancelled())

    for end in (lambda order: order.cancel(), lambda _: bench.orders.end()):
        order = await bench.order(ONE)
        assert timers() == 1
        end(order)
        await asyncio.wait({order})
        assert timers() == 0
    order = await bench.order(ONE)
    await bench.put(ONE, 1)
    await bench.answer(order)
    assert timers() == 0


async def test_an_order_can_be_ended_at_once(bench: Bench) -> None:
    """It gives nothing, without the thread; to end one that is over, or where none was, changes nothing."""
    bench.orders.end()
    order = await bench.order(ONE)
    for _ in range(3):
        bench.orders.end()
    assert bench.waiting == 0
    assert await bench.answer(order) == {}
    bench.orders.end()
    await bench.put(ONE, 1)
    assert bench.fetcher.asked == 0
    assert await bench.answer(bench.orders.next_records({ONE}, LONG)) == {ONE: [1]}


async def test_records_on_their_way_are_not_lost_by_an_end(bench: Bench) -> None:
    """Who ends an order while the thread takes its records gets them, whether or not they have arrived."""
    for ends in (bench.orders.end, bench.end_in_app()):
        bench.fetcher.while_asked = ends
        order = await bench.order(ONE)
        await bench.put(ONE, 1)
        assert await bench.answer(order) == {ONE: [1]}


@pytest.mark.parametrize("ended_by", ["the thread's own end", "the app's end"])
async def test_an_order_that_is_ended_while_records_turn_out_to_be_none_ends(
    ended_by: str, bench: Bench
) -> None:
    """The app's end finds no order to take out: the thread sees it before it lets the order wait again."""
    order = await bench.order(ONE)
    bench.fetcher.while_asked = bench.end_in_app() if ended_by == "the app's end" else bench.orders.end
    await bench.put(ONE)
    assert await bench.answer(order) == {}
    bench.fetcher.while_asked = _nothing
    await works(bench)


class Place(deque[Any]):
    """Where an order lies; while the thread puts one there or takes one out, something happens in the app."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__()
        self._thread = thread
        self.after_append: list[Callable[[], None]] = []  # the first time, the second time, ...
        self.before_pop: list[Callable[[], None]] = []
        self.before_remove: list[Callable[[], None]] = []

    def _happens(self, what: list[Callable[[], None]]) -> None:
        if what and threading.current_thread() is self._thread:
            what.pop(0)()

    def append(self, order: Any) -> None:
        super().append(order)
        self._happens(self.after_append)

    def pop(self) -> Any:  # type: ignore[override]  # a deque takes no index
        self._happens(self.before_pop)
        return super().pop()

    def remove(self, order: Any) -> None:
        self._happens(self.before_remove)
        super().remove(order)


@pytest.fixture
def place(bench: Bench) -> Place:
    made = bench.orders._place = Place(bench.thread)
    return made


async def test_an_order_that_is_ended_when_it_waits_again_ends_once(bench: Bench, place: Place) -> None:
    """The app has taken it out of its place, and the thread finds none there."""
    order = await bench.order(ONE)
    place.after_append = [bench.end_in_app()]
    await bench.put(ONE)
    assert await bench.answer(order) == {}
    await works(bench)


async def test_an_order_that_the_thread_is_to_end_may_be_ended_by_the_app(bench: Bench, place: Place) -> None:
    """The thread has seen one end of it; another one follows, and is the one that counts."""
    order = await bench.order(ONE)
    bench.fetcher.while_asked = bench.end_in_app()
    place.before_remove = [bench.end_in_app()]
    await bench.put(ONE)
    assert await bench.answer(order) == {}
    bench.fetcher.while_asked = _nothing
    await works(bench)


async def test_an_order_that_ends_before_the_thread_takes_it_is_not_served(
    bench: Bench, place: Place
) -> None:
    """The records stay with the consumer, for the next order."""
    order = await bench.order(ONE)
    place.before_pop = [bench.end_in_app()]
    await bench.put(ONE, 1)
    assert await bench.answer(order) == {}
    assert bench.fetcher.asked == 0
    assert await bench.answer(bench.orders.next_records({ONE}, LONG)) == {ONE: [1]}


class Following:
    """An order that the app places in the moment in which it ends another one."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._app = asyncio.get_running_loop()
        self._order: asyncio.Task[Any] | None = None

    def __call__(self) -> None:
        """End the one and place the other in the app, while the thread waits."""
        asyncio.run_coroutine_threadsafe(self._place(), self._app).result(30)

    async def _place(self) -> None:
        self._bench.orders.end()
        self._order = asyncio.create_task(self._bench.orders.next_records([ONE], LONG))
        await asyncio.sleep(0)

    async def answer(self) -> Any:
        """What it gets when there are records of which the thread is told; it does not wait for more."""
        assert self._order is not None
        for _ in range(3):
            await self._bench.in_thread(self._bench.fetcher.tell)
        assert self._order.done(), "it waits for ever"
        return await self._bench.answer(self._order)


async def test_an_order_that_follows_when_the_thread_takes_the_one_before_is_served(
    bench: Bench, place: Place
) -> None:
    """Where one ends and the next one comes in that moment, no records are lost, and none waits for ever."""
    order = await bench.order(ONE)
    place.before_pop = [following := Following(bench)]
    await bench.put(ONE, 1)
    assert await order == {}
    assert await following.answer() == {ONE: [1]}


async def test_an_order_that_follows_when_the_thread_ends_the_one_before_is_answered(
    bench: Bench, place: Place
) -> None:
    """It gets its records, or ends early with nothing; none waits for ever."""
    order = await bench.order(ONE)
    bench.fetcher.while_asked = bench.end_in_app()
    place.before_remove = [following := Following(bench)]
    await bench.put(ONE)
    assert await order == {}
    bench.fetcher.while_asked = _nothing
    await bench.put(ONE, 1)
    found = await following.answer()
    assert (found or await bench.answer(bench.orders.next_records([ONE], LONG))) == {ONE: [1]}


async def test_an_order_that_is_cancelled_leaves_nothing_behind(bench: Bench) -> None:
    """It counts no more, takes no records, and its place is free for the next one."""
    order = await bench.order(ONE)
    order.cancel()
    await asyncio.wait({order})
    assert order.cancelled()
    assert bench.waiting == 0
    await bench.put(ONE, 1)
    assert bench.fetcher.asked == 0
    assert await bench.answer(bench.orders.next_records({ONE}, LONG)) == {ONE: [1]}


async def test_the_end_of_an_order_is_when_somebody_waited_last(bench: Bench) -> None:
    """Too long after it, aiokafka leaves the group."""
    subscriptions = bench.fetcher._subscriptions
    for records in ([], [1]):
        subscriptions._last_fetch_ended = 0.0
        order = await bench.order(ONE)
        assert subscriptions._last_fetch_ended == 0.0
        if records:
            await bench.put(ONE, *records)
        else:
            bench.orders.end()
        await bench.answer(order)
        assert subscriptions._last_fetch_ended > 0.0


# -- failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False], ids=["failed before", "failed after"])
async def test_an_error_of_a_fetch_reaches_who_ordered(before: bool, bench: Bench) -> None:
    """It is raised there and not in the thread's loop, whose fetches go on; the next order works."""
    error = TopicAuthorizationFailedError("actions")
    order: Awaitable[Any]
    if before:
        await bench.in_thread(bench.fetcher.fail, ONE, error)
        order = bench.orders.next_records([ONE], LONG)
    else:
        order = await bench.order(ONE)
        await bench.in_thread(bench.fetcher.fail, ONE, error)
    with pytest.raises(TopicAuthorizationFailedError):
        await bench.answer(order)
    await works(bench)


@pytest.mark.parametrize("there", [{}, {ONE: [1]}, {TWO: [2]}], ids=["nothing", "its records", "others"])
@pytest.mark.parametrize("reassigned", [True, False])
async def test_a_closed_fetcher_ends_the_order_under_way(
    reassigned: bool, there: dict[TP, list[int]], bench: Bench
) -> None:
    """It gets nothing, whatever is there; and there is no further one."""
    bench.fetcher._subscriptions.reassignment_in_progress = reassigned
    order = await bench.order(ONE)
    bench.fetcher._records.update(there)  # of which nobody has been told
    await bench.in_thread(bench.fetcher.close)
    assert await bench.answer(order) == {}
    with pytest.raises(ConsumerStoppedError):
        await bench.answer(bench.orders.next_records([ONE], LONG))


async def test_a_closed_consumer_takes_no_order(bench: Bench) -> None:
    """Whether or not its fetcher is closed yet."""
    bench.consumer._closed = True
    with pytest.raises(ConsumerStoppedError):
        await bench.answer(bench.orders.next_records([ONE], LONG))


async def test_an_error_of_the_group_reaches_who_ordered(bench: Bench) -> None:
    """When its coordination fails, aiokafka fails whoever waits for records, if anybody does."""

    def fail_all() -> None:  # as aiokafka's SubscriptionState.abort_waiters
        for waiter in bench.fetcher._fetch_waiters:
            if not waiter.done():
                waiter.set_exception(KafkaError("Unexpected error during coordination"))

    order = await bench.order(ONE)
    await bench.in_thread(fail_all)
    with pytest.raises(KafkaError):
        await bench.answer(order)
    await bench.in_thread(fail_all)  # and nobody waits
    await works(bench)


def test_records_for_an_app_that_is_gone_do_no_harm(bench: Bench) -> None:
    """After a crash the app's loop may be closed before the consumer's thread ends."""
    app = asyncio.new_event_loop()
    order: Any = app.create_task(bench.orders.next_records([ONE], LONG))
    app.run_until_complete(asyncio.sleep(0))
    app.close()
    order._log_destroy_pending = False

    async def put() -> None:
        bench.fetcher.put(ONE, 1)

    asyncio.run_coroutine_threadsafe(put(), bench.loop).result(30)
    assert bench.fetcher.asked == 1


# -- both threads at once ---------------------------------------------------------------------------------

RECORDS = 2_000


@pytest.mark.parametrize("seed", range(3))
async def test_every_record_arrives_once_and_in_order(seed: int, bench: Bench) -> None:
    """Whatever the moments at which records come, and orders are placed, ended and over."""
    places = [TP("actions", number) for number in range(3)]
    bench.consumer._max_poll_records = 7
    put: dict[TP, list[int]] = defaultdict(list)

    async def fetch() -> None:
        dice = random.Random(seed)
        for number in range(RECORDS):
            place = dice.choice(places)
            put[place].append(number)
            bench.fetcher.put(place, number)
            if dice.random() < 0.1:
                bench.fetcher.put(dice.choice(places))  # nothing, in the end
            if dice.random() < 0.7:
                await asyncio.sleep(dice.choice([0, 0, 0, 0.0005]))

    taken: dict[TP, list[int]] = defaultdict(list)
    dice = random.Random(seed + 1_000)
    loop = asyncio.get_running_loop()
    fetching = asyncio.run_coroutine_threadsafe(fetch(), bench.loop)
    async with asyncio.timeout(60):
        while sum(map(len, taken.values())) < RECORDS:
            ordered = dice.sample(places, dice.randint(1, 3))
            ends = [
                loop.call_later(dice.choice([0, 0, 0.0003]), bench.orders.end)
                for _ in range(dice.randint(0, 2))
            ]
            found = await bench.orders.next_records(ordered, dice.choice([0, 0.0002, 0.001, 0.01]))
            assert bench.waiting == 0
            for each in ends:
                each.cancel()
            assert found.keys() <= set(ordered)
            for place, records in found.items():
                taken[place] += records
            if dice.random() < 0.3:
                await asyncio.sleep(0)
        await asyncio.wrap_future(fetching)
    assert taken == put
    assert not any(bench.fetcher._records.values())
