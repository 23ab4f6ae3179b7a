import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from streams.lookup.breaker import BreakerPolicy, State
from streams.lookup.client import Question, Reply, ServiceHealth
from streams.lookup.latency import FAST
from streams.lookup.organisation import CIRCUIT_OPEN, SATURATED, TIMEOUT, UNEXPECTED, OrganisationLookup
from streams.lookup.rate import RatePolicy
from streams.messages.decode import Cause, LookupOutcome, Outcome
from tests.lookup.virtual_time import VirtualLoop

DEADLINE = 2.0
POLICY = BreakerPolicy(minimum_calls=4, jitter=0.0)

EXISTING = LookupOutcome(Outcome.EXISTING)
DOWN = LookupOutcome(Outcome.ERROR, Cause.HTTP_STATUS)
UNKNOWN = LookupOutcome(Outcome.ERROR, Cause.HTTP_STATUS, b"{}")

HEALTHY = Reply(EXISTING, ServiceHealth.HEALTHY, None)
FAILURE = Reply(DOWN, ServiceHealth.FAILURE, None)
NEUTRAL = Reply(UNKNOWN, ServiceHealth.NEUTRAL, None)

Asked = LookupOutcome | asyncio.Future[LookupOutcome]

pytestmark = pytest.mark.usefixtures("virtual_time")


class Does(NamedTuple):
    """What the service does with one question."""

    reply: Reply | BaseException | None = HEALTHY  # None: nothing, for ever
    after: float = 0.005
    stubborn: float = 0.0  # seconds for which it takes no notice of being cancelled


class Service:
    """A client whose service does what it is told, one question after another, and the last for ever."""

    def __init__(self, *does: Does) -> None:
        self.does = list(does) or [Does()]
        self.asked: list[tuple[Question, float | None]] = []
        self.asked_at: list[float] = []
        self.out = 0
        self.most_out = 0
        self.cancelled = 0
        self.closed = False

    async def ask(self, question: Question, *, within: float | None = None) -> Reply:
        does = self.does.pop(0) if len(self.does) > 1 else self.does[0]
        self.asked.append((question, within))
        self.asked_at.append(now())
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        try:
            if does.reply is None:
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(does.after)
        except asyncio.CancelledError:
            self.cancelled += 1
            if does.stubborn:
                await asyncio.sleep(does.stubborn)
                return HEALTHY
            raise
        finally:
            self.out -= 1
        assert does.reply is not None
        if isinstance(does.reply, BaseException):
            raise does.reply
        return does.reply

    async def aclose(self) -> None:
        self.closed = True


class Tally:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[int | None, LookupOutcome, float]] = []
        self.states: list[State] = []

    def answered(self, org_id: int | None, outcome: LookupOutcome, seconds: float) -> None:
        self.answers.append((org_id, outcome, seconds))

    def state_changed(self, org_id: int | None, state: State) -> None:
        self.states.append(state)


def person(number: int) -> Question:
    return Question(310, f"ref-{number}", f"p{number}@example.org")


class Place(NamedTuple):
    lookup: OrganisationLookup
    service: Service
    tally: Tally


@asynccontextmanager
async def lookup(
    *does: Does,
    concurrency: int = 8,
    queue: int = 100,
    rate: RatePolicy = RatePolicy(),  # noqa: B008 - it never changes
) -> AsyncIterator[Place]:
    service, tally = Service(*does), Tally()
    made = OrganisationLookup(
        310,
        service,
        deadline=DEADLINE,
        concurrency=concurrency,
        queue=queue,
        policy=POLICY,
        observer=tally,
        rate=rate,
        random=lambda: 0.0,
    )
    try:
        yield Place(made, service, tally)
    finally:
        await made.aclose()
        assert (made.waiting, made.queued, made.out) == (0, 0, 0)
        assert service.closed


def waits(asked: Asked) -> asyncio.Future[LookupOutcome]:
    assert isinstance(asked, asyncio.Future)
    return asked


def now() -> float:
    return asyncio.get_running_loop().time()


async def opened(key: Place) -> None:
    """Make the breaker open, by as many failures as it takes; then the service does what it was told to."""
    rest, key.service.does = key.service.does, [Does(FAILURE)]
    for number in range(POLICY.minimum_calls):
        assert await waits(key.lookup.ask(person(1000 + number))) == DOWN
    assert key.lookup.state is State.OPEN
    key.service.does = rest
    key.service.asked.clear()


async def test_an_answer_is_delivered_and_counted_once() -> None:
    """The asker gets the outcome, and the observer its organisation, outcome and duration."""
    async with lookup(Does(HEALTHY, after=0.3)) as (lookups, service, tally):
        assert await waits(lookups.ask(person(1))) == EXISTING
        assert service.asked == [(person(1), pytest.approx(DEADLINE))]
        assert tally.answers == [(310, EXISTING, pytest.approx(0.3))]
        assert tally.states == [State.CLOSED]


async def test_the_same_person_is_asked_about_once_at_a_time() -> None:
    """A second ask joins the one under way; after its end a new one starts."""
    async with lookup(Does(HEALTHY, after=0.3)) as (lookups, service, _):
        first, second = waits(lookups.ask(person(1))), waits(lookups.ask(person(1)))
        assert lookups.waiting == 2
        assert await asyncio.gather(first, second) == [EXISTING, EXISTING]
        assert len(service.asked) == 1
        await waits(lookups.ask(person(1)))
        assert len(service.asked) == 2


async def test_another_address_is_another_question() -> None:
    """Only organisation, contactRef and email together make it the same person."""
    async with lookup() as (lookups, service, _):
        questions = [
            person(1),
            person(1)._replace(email="x@example.org"),
            person(1)._replace(contact_ref="x"),
        ]
        await asyncio.gather(*(waits(lookups.ask(question)) for question in questions))
        assert len(service.asked) == 3


async def test_a_cancelled_asker_does_not_cancel_the_others() -> None:
    """Of three who wait for the same answer, two leave, the first among them; the third gets it."""
    async with lookup(Does(HEALTHY, after=0.3)) as (lookups, service, _):
        first, second, third = (waits(lookups.ask(person(1))) for _ in range(3))
        first.cancel()
        assert lookups.waiting == 2
        second.cancel()
        assert await third == EXISTING
        assert service.cancelled == 0


async def test_a_lookup_nobody_waits_for_is_given_up() -> None:
    """When its last asker leaves, the exchange is cancelled, its place free, the breaker none the wiser."""
    async with lookup(Does(None), concurrency=1) as (lookups, service, tally):
        for _ in range(3 * POLICY.minimum_calls):
            asked = waits(lookups.ask(person(1)))
            await asyncio.sleep(0.01)
            asked.cancel()
            await asyncio.sleep(0.01)
            assert (lookups.waiting, lookups.out) == (0, 0)
        assert service.cancelled == 3 * POLICY.minimum_calls
        assert lookups.state is State.CLOSED
        assert tally.answers == []


async def test_a_queued_ask_that_is_cancelled_is_never_put() -> None:
    """Its place in the queue is free at once, for somebody else."""
    async with lookup(Does(HEALTHY, after=0.3), concurrency=1, queue=1) as (lookups, service, _):
        first, second = waits(lookups.ask(person(1))), waits(lookups.ask(person(2)))
        assert lookups.ask(person(3)) == SATURATED
        second.cancel()
        third = waits(lookups.ask(person(3)))
        assert await asyncio.gather(first, third) == [EXISTING, EXISTING]
        assert [question for question, _ in service.asked] == [person(1), person(3)]


async def test_a_hanging_lookup_ends_at_the_deadline() -> None:
    """The outcome is a time-out exactly a deadline after the ask, and counts as a failure."""
    async with lookup(Does(None)) as (lookups, service, tally):
        start = now()
        asked = [waits(lookups.ask(person(number))) for number in range(POLICY.minimum_calls)]
        assert await asyncio.gather(*asked) == [TIMEOUT] * POLICY.minimum_calls
        assert now() == pytest.approx(start + DEADLINE)
        assert lookups.state is State.OPEN
        assert [(outcome, seconds) for _, outcome, seconds in tally.answers] == [
            (TIMEOUT, pytest.approx(DEADLINE))
        ] * POLICY.minimum_calls
        await asyncio.sleep(0)
        assert service.cancelled == POLICY.minimum_calls


async def test_a_client_that_ignores_its_cancellation_delays_nobody() -> None:
    """The asker gets its time-out; only the place among those under way stays taken until the client ends."""
    async with lookup(Does(None, stubborn=1.0), Does(), concurrency=1) as (lookups, service, tally):
        start = now()
        assert await waits(lookups.ask(person(1))) == TIMEOUT
        assert now() == pytest.approx(start + DEADLINE)
        assert await waits(lookups.ask(person(2))) == EXISTING
        assert now() == pytest.approx(start + DEADLINE + 1.0, abs=0.01)
        assert service.most_out == 1
        assert [outcome for _, outcome, _ in tally.answers] == [TIMEOUT, EXISTING]


async def test_who_joins_late_waits_no_longer_than_who_came_first() -> None:
    """A joiner shares the end of the lookup under way, which is before its own deadline."""
    async with lookup(Does(None)) as (lookups, _, _):
        start = now()
        first = waits(lookups.ask(person(1)))
        await asyncio.sleep(1.5)
        second = waits(lookups.ask(person(1)))
        assert await asyncio.gather(first, second) == [TIMEOUT, TIMEOUT]
        assert now() == pytest.approx(start + DEADLINE)


async def test_lookups_queue_for_their_turn_and_the_wait_counts() -> None:
    """No more are out than allowed, they start in the order of asking, and each has only the time left."""
    async with lookup(Does(HEALTHY, after=0.5), concurrency=2) as (lookups, service, _):
        asked = [waits(lookups.ask(person(number))) for number in range(6)]
        assert (lookups.out, lookups.queued, lookups.waiting) == (2, 4, 6)
        assert await asyncio.gather(*asked) == [EXISTING] * 6
        assert service.most_out == 2
        assert service.asked == [
            (person(number), pytest.approx(DEADLINE - number // 2 * 0.5, abs=0.01)) for number in range(6)
        ]


async def test_who_cannot_start_before_the_deadline_is_told_so_then() -> None:
    """A queued ask ends as saturated at its deadline, without an exchange or a word to the breaker."""
    async with lookup(Does(HEALTHY, after=1.5), concurrency=1) as (lookups, service, tally):
        start = now()
        asked = [waits(lookups.ask(person(number))) for number in range(3)]
        assert await asked[2] == SATURATED
        assert now() == pytest.approx(start + DEADLINE)
        assert [future.result() for future in asked] == [EXISTING, TIMEOUT, SATURATED]
        assert len(service.asked) == 2
        assert len(tally.answers) == 2


async def test_a_full_queue_answers_at_once() -> None:
    """Beyond its limit an ask is saturated as a value, while a joiner still finds its place."""
    async with lookup(Does(HEALTHY), concurrency=1, queue=2) as (lookups, _, _):
        for number in range(3):
            waits(lookups.ask(person(number)))
        assert lookups.ask(person(3)) == SATURATED
        assert await waits(lookups.ask(person(2))) == EXISTING


async def test_a_rush_does_not_open_a_healthy_services_breaker() -> None:
    """Lookups that started too late to be answered time out, but prove nothing about the service."""
    async with lookup(Does(HEALTHY, after=1.2), concurrency=8) as (lookups, _, tally):
        await asyncio.gather(*(waits(lookups.ask(person(number))) for number in range(40)))
        outcomes = [outcome for _, outcome, _ in tally.answers]
        assert outcomes.count(TIMEOUT) >= POLICY.minimum_calls
        assert lookups.state is State.CLOSED


async def test_an_open_breaker_answers_at_once_and_asks_nobody() -> None:
    """Every ask is a value, no task is started, and a good answer of before the opening does not close it."""
    async with lookup(Does(HEALTHY, after=0.5)) as key:
        hanging = waits(key.lookup.ask(person(1)))
        await asyncio.sleep(0)
        await opened(key)
        assert not hanging.done()
        for number in range(100):
            assert key.lookup.ask(person(number)) == CIRCUIT_OPEN
        assert key.service.asked == []
        assert await hanging == EXISTING
        assert key.lookup.state is State.OPEN
        assert key.tally.states == [State.CLOSED, State.OPEN]


async def test_when_the_breaker_opens_nobody_stays_in_the_queue() -> None:
    """All who queue get their answer in that moment; who is out gets a real one."""
    failing = [Does(FAILURE, after=0.1)] * 4
    async with lookup(*failing, Does(HEALTHY, after=0.5), concurrency=5) as (lookups, service, _):
        start = now()
        out = [waits(lookups.ask(person(number))) for number in range(5)]
        queued = [waits(lookups.ask(person(number))) for number in range(5, 50)]
        assert await asyncio.gather(*out[:4]) == [DOWN] * 4
        # Answers come one after another, so three of the queued could start before the fourth failure.
        assert await asyncio.gather(*queued[3:]) == [CIRCUIT_OPEN] * 42
        assert now() == pytest.approx(start + 0.1)
        assert (lookups.queued, lookups.out) == (0, 4)
        assert await asyncio.gather(out[4], *queued[:3]) == [EXISTING] * 4
        assert len(service.asked) == 8


async def test_the_probe_runs_in_the_background_and_alone() -> None:
    """Of two hundred asks after the pause all are answered at once, and the service sees one question."""
    async with lookup(Does(HEALTHY, after=0.3)) as key:
        await opened(key)
        await asyncio.sleep(1.0)
        assert [key.lookup.ask(person(number)) for number in range(200)] == [CIRCUIT_OPEN] * 200
        assert key.lookup.state is State.HALF_OPEN
        await asyncio.sleep(0.29)
        assert [question for question, _ in key.service.asked] == [person(0)]
        assert key.lookup.ask(person(0)) == CIRCUIT_OPEN
        await asyncio.sleep(0.02)
        assert key.lookup.state is State.CLOSED
        assert await waits(key.lookup.ask(person(0))) == EXISTING
        assert key.tally.states == [State.CLOSED, State.OPEN, State.HALF_OPEN, State.CLOSED]
        assert key.tally.answers[POLICY.minimum_calls] == (310, EXISTING, pytest.approx(0.3))


async def test_what_an_open_breaker_answers_is_known_without_asking() -> None:
    """Never while it is closed, or the next to ask may probe; and to say it changes nothing."""
    async with lookup(Does(NEUTRAL, after=0.3), Does(HEALTHY)) as key:
        said = [key.lookup.unasked()]
        await opened(key)
        said.append(key.lookup.unasked())
        await asyncio.sleep(1.0)
        said.append(key.lookup.unasked())  # the pause has ended
        key.lookup.ask(person(1))
        said.append(key.lookup.unasked())  # the probe is out
        await asyncio.sleep(0.4)
        said += [key.lookup.unasked(), key.lookup.unasked()]  # it has said nothing
        assert said == ["ask", CIRCUIT_OPEN, "ask", CIRCUIT_OPEN, "ask", "ask"]
        assert len(key.service.asked) == 1
    assert key.lookup.unasked() == "ask"


async def test_a_probe_that_says_nothing_lets_the_next_ask_probe() -> None:
    """A neutral answer leaves it half-open with the place free."""
    async with lookup(Does(NEUTRAL), Does(HEALTHY)) as key:
        await opened(key)
        await asyncio.sleep(1.0)
        key.lookup.ask(person(1))
        await asyncio.sleep(0.1)
        assert key.lookup.state is State.HALF_OPEN
        assert key.lookup.ask(person(2)) == CIRCUIT_OPEN
        await asyncio.sleep(0.1)
        assert key.lookup.state is State.CLOSED


async def test_when_the_next_probe_is_due_is_known() -> None:
    """After the pause, or since the last probe's end; never while it is closed, or a probe is out."""
    async with lookup(Does(NEUTRAL), Does(HEALTHY)) as key:
        assert key.lookup.probe_due_in is None
        await asyncio.sleep(60.0)
        assert key.lookup.probe_due_in is None, "closed"
        await opened(key)
        await asyncio.sleep(0.9)
        assert key.lookup.probe_due_in == pytest.approx(0.1), "in its pause of a second"
        await asyncio.sleep(600.1)
        assert key.lookup.probe_due_in == pytest.approx(-600.0)
        key.lookup.ask(person(1))
        assert key.lookup.probe_due_in is None, "a probe is out"
        await asyncio.sleep(0.005 + 30.0)
        assert (key.lookup.state, key.lookup.probe_due_in) == (State.HALF_OPEN, pytest.approx(-30.0))
        key.lookup.ask(person(2))
        await asyncio.sleep(60.0)
        assert (key.lookup.state, key.lookup.probe_due_in) == (State.CLOSED, None)


@pytest.mark.parametrize(
    "fault",
    [
        Does(None),
        Does(None, stubborn=0.5),
        Does(RuntimeError("unmapped")),
        Does(asyncio.CancelledError()),
        Does(FAILURE),
    ],
    ids=["deadline", "stubborn", "raises", "cancelled within", "fails"],
)
async def test_no_end_of_a_probe_keeps_its_place(fault: Does) -> None:
    """However the probe ends, the service is probed again within a pause and the breaker closes."""
    async with lookup(fault, Does(HEALTHY)) as key:
        await opened(key)
        await asyncio.sleep(1.0)
        key.lookup.ask(person(1))
        await asyncio.sleep(DEADLINE + 0.1)
        assert key.lookup.state is not State.CLOSED
        await asyncio.sleep(2.0)
        key.lookup.ask(person(2))
        await asyncio.sleep(0.1)
        assert key.lookup.state is State.CLOSED


async def test_a_probe_waits_for_room() -> None:
    """While lookups that ignore their end take up all places, no probe adds to them; then one goes out."""
    async with lookup(*[Does(None, stubborn=5.0)] * 4, Does(HEALTHY), concurrency=4) as (lookups, service, _):
        await asyncio.gather(*(waits(lookups.ask(person(number))) for number in range(4)))
        await asyncio.sleep(1.5)
        assert lookups.ask(person(5)) == CIRCUIT_OPEN
        await asyncio.sleep(0.1)
        assert (len(service.asked), lookups.state) == (4, State.OPEN)
        await asyncio.sleep(5.0)
        assert lookups.ask(person(5)) == CIRCUIT_OPEN
        await asyncio.sleep(0.1)
        assert (len(service.asked), service.most_out, lookups.state) == (5, 4, State.CLOSED)


async def test_a_client_that_raises_is_an_outcome(caplog: pytest.LogCaptureFixture) -> None:
    """The outcome is unexpected, the log names the exception's type, and not its text."""
    caplog.set_level(logging.DEBUG)
    async with lookup(Does(ValueError("canary@pii.test"))) as (lookups, _, _):
        assert await waits(lookups.ask(person(1))) == UNEXPECTED
    assert "ValueError" in caplog.text
    assert "pii.test" not in caplog.text


async def test_an_observer_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Outcomes are delivered and queued lookups start all the same."""

    class Faulty(Tally):
        def answered(self, org_id: int | None, outcome: LookupOutcome, seconds: float) -> None:
            raise ZeroDivisionError("canary@pii.test")

        state_changed = answered  # type: ignore[assignment]  # it raises before it could matter

    lookups = OrganisationLookup(
        310, Service(), deadline=DEADLINE, concurrency=1, queue=9, policy=POLICY, observer=Faulty()
    )
    asked = [waits(lookups.ask(person(number))) for number in range(3)]
    assert await asyncio.gather(*asked) == [EXISTING] * 3
    await lookups.aclose()
    assert "ZeroDivisionError" in caplog.text
    assert "pii.test" not in caplog.text


async def test_after_a_stall_of_the_event_loop_nothing_is_asked_too_late() -> None:
    """A queued ask whose turn comes after its deadline is saturated, and the service not bothered with it."""

    class Stalling(Tally):
        def answered(self, org_id: int | None, outcome: LookupOutcome, seconds: float) -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.jump.now += 2 * DEADLINE

    service = Service()
    lookups = OrganisationLookup(
        310, service, deadline=DEADLINE, concurrency=1, queue=9, policy=POLICY, observer=Stalling()
    )
    asked = [waits(lookups.ask(person(number))) for number in range(3)]
    assert await asyncio.gather(*asked) == [EXISTING, SATURATED, SATURATED]
    assert len(service.asked) == 1
    await lookups.aclose()


async def test_a_desk_is_brisk_until_nothing_is_answered_for_long() -> None:
    """One slow lookup among fast ones changes nothing; when these fall silent too, the service is slow."""
    async with lookup(Does(HEALTHY, after=1.0), Does(HEALTHY, after=0.04)) as (lookups, _, _):
        assert lookups.is_fast
        slow = waits(lookups.ask(person(0)))
        await asyncio.sleep(FAST)
        assert lookups.is_fast
        quick = waits(lookups.ask(person(1)))
        await asyncio.sleep(0.001)
        assert not lookups.is_fast, "nothing was ever answered"
        await quick
        assert lookups.is_fast
        await asyncio.sleep(FAST * 1.1)
        assert not lookups.is_fast
        await slow
        assert lookups.is_fast, "nothing is out"


async def test_a_steady_but_slow_service_is_not_brisk() -> None:
    """Somebody is answered all the time, but each waits too long: others must not wait for that."""
    async with lookup(Does(HEALTHY, after=0.5), concurrency=100) as (lookups, _, _):
        asked = []
        for number in range(100):
            asked.append(waits(lookups.ask(person(number))))
            await asyncio.sleep(0.01)
        assert not lookups.is_fast
        await asyncio.gather(*asked)


async def test_a_queue_before_a_quick_service_is_brisk() -> None:
    """What counts is how long lookups are out, not how long they queued."""
    async with lookup(Does(HEALTHY, after=0.04), concurrency=1) as (lookups, _, _):
        asked = [waits(lookups.ask(person(number))) for number in range(20)]
        for future in asked:
            await future
            assert lookups.is_fast


TEN_A_SECOND = RatePolicy(10.0)


async def test_a_service_of_ten_a_second_is_asked_ten_times_a_second() -> None:
    """Of a hundred at once, ten are asked in a second, evenly; who cannot be in time is told at once."""
    async with lookup(Does(HEALTHY, after=0.3), rate=TEN_A_SECOND) as (lookups, service, _):
        start = now()
        asked = [lookups.ask(person(number)) for number in range(100)]
        # The first at once, and as many more as have their turn in the first half of the deadline of 2 s.
        assert [isinstance(each, asyncio.Future) for each in asked] == [True] * 11 + [False] * 89
        assert set(asked[11:]) == {SATURATED}
        assert await asyncio.gather(*map(waits, asked[:11])) == [EXISTING] * 11
        assert service.asked_at == pytest.approx([start + number / 10 for number in range(11)])
        assert service.asked == [
            (person(number), pytest.approx(DEADLINE - number / 10)) for number in range(11)
        ]


async def test_more_questions_than_the_rate_are_answered_at_the_rate() -> None:
    """Twenty questions a second for a minute: ten a second are answered, and none of these times out."""
    async with lookup(Does(HEALTHY, after=0.9), concurrency=64, rate=TEN_A_SECOND) as key:
        lookups, service, tally = key
        asked = []
        for number in range(1_200):
            asked.append(lookups.ask(person(number)))
            await asyncio.sleep(0.05)
        await asyncio.sleep(DEADLINE)
        outcomes = [each.result() if isinstance(each, asyncio.Future) else each for each in asked]
        assert set(outcomes) == {EXISTING, SATURATED}
        assert 600 <= outcomes.count(EXISTING) == len(service.asked) <= 612
        assert {outcome for _, outcome, _ in tally.answers} == {EXISTING}


async def test_a_burst_is_asked_at_once() -> None:
    """As many as the burst allows go out together, and the others one by one behind them."""
    rate = RatePolicy(10.0, burst=5)
    async with lookup(Does(HEALTHY, after=0.01), rate=rate) as (lookups, service, _):
        start = now()
        await asyncio.gather(*(waits(lookups.ask(person(number))) for number in range(8)))
        assert service.asked_at == pytest.approx([start] * 5 + [start + 0.1, start + 0.2, start + 0.3])


async def test_a_question_withdrawn_before_its_turn_takes_none() -> None:
    """The next in the queue has the turn, also when the queue was empty for a while."""
    async with lookup(Does(HEALTHY, after=0.01), rate=TEN_A_SECOND) as (lookups, service, _):
        start = now()
        first, second, third = (waits(lookups.ask(person(number))) for number in range(3))
        second.cancel()
        assert await asyncio.gather(first, third) == [EXISTING, EXISTING]
        assert service.asked_at == pytest.approx([start, start + 0.1])
        fourth = waits(lookups.ask(person(4)))
        fourth.cancel()
        await asyncio.sleep(1.0)
        assert await waits(lookups.ask(person(5))) == EXISTING
        assert [question for question, _ in service.asked] == [person(0), person(2), person(5)]


async def test_concurrency_holds_beside_the_rate() -> None:
    """A slow service is sent no more at a time than it may be, whatever its rate allows."""
    rate = RatePolicy(100.0, burst=10)
    async with lookup(Does(HEALTHY, after=0.5), concurrency=2, rate=rate) as (lookups, service, _):
        asked = [waits(lookups.ask(person(number))) for number in range(6)]
        assert await asyncio.gather(*asked) == [EXISTING] * 6
        assert service.most_out == 2


async def test_a_probe_keeps_to_the_rate() -> None:
    """The probe of a half-open breaker waits until the service may be sent a request, and counts as one."""
    slow = RatePolicy(0.2, burst=POLICY.minimum_calls)
    async with lookup(Does(HEALTHY), rate=slow) as key:
        await opened(key)
        await asyncio.sleep(2.0)
        assert key.lookup.ask(person(1)) == CIRCUIT_OPEN
        assert (key.service.asked, key.lookup.state) == ([], State.OPEN)
        await asyncio.sleep(3.0)
        assert key.lookup.ask(person(1)) == CIRCUIT_OPEN
        await asyncio.sleep(0.1)
        assert (len(key.service.asked), key.lookup.state) == (1, State.CLOSED)
        assert key.lookup.ask(person(2)) == SATURATED


async def test_who_waits_for_a_turn_must_not_hold_up_others() -> None:
    """A service is not fast while the next question would wait for its turn, however fast it answers."""
    async with lookup(Does(HEALTHY, after=0.001), rate=TEN_A_SECOND) as (lookups, _, _):
        assert lookups.is_fast
        asked = waits(lookups.ask(person(1)))
        assert not lookups.is_fast
        await asked
        await asyncio.sleep(0.1)
        assert lookups.is_fast
    async with lookup(Does(HEALTHY, after=0.001), rate=RatePolicy(1_000.0)) as (lookups, _, _):
        asked_all = [waits(lookups.ask(person(number))) for number in range(20)]
        assert lookups.is_fast, "twenty turns of a millisecond each"
        await asyncio.gather(*asked_all)


async def test_draining_ends_those_that_wait_for_a_turn_too() -> None:
    """They are asked at the service's rate, and the client is closed after the last of them."""
    async with lookup(Does(HEALTHY, after=0.001), rate=TEN_A_SECOND) as (lookups, service, _):
        asked = [waits(lookups.ask(person(number))) for number in range(4)]
        await lookups.drain()
        assert [future.result() for future in asked] == [EXISTING] * 4
        assert service.closed


async def test_closing_cancels_everything_under_way() -> None:
    """Futures of lookups out and queued are cancelled, the exchanges too, a probe too; nothing is left."""
    async with lookup(Does(None), concurrency=2) as (lookups, service, tally):
        asked = [waits(lookups.ask(person(number))) for number in (0, 0, 1, 2, 3)]
        await asyncio.sleep(0.1)
        await lookups.aclose()
        assert all(future.cancelled() for future in asked)
        assert service.cancelled == 2
        assert lookups.ask(person(9)) == UNEXPECTED
        assert tally.answers == []


async def test_closing_before_a_lookups_first_step_leaves_nothing() -> None:
    """A lookup started and closed in the same moment neither runs nor stays."""
    async with lookup(Does(None)) as (lookups, service, _):
        asked = waits(lookups.ask(person(0)))
        await lookups.aclose()
        assert asked.cancelled()
        assert service.asked == []


async def test_draining_ends_what_is_under_way() -> None:
    """Those out and those queued get their answers before the client is closed."""
    async with lookup(Does(HEALTHY, after=0.3), concurrency=1) as (lookups, service, _):
        asked = [waits(lookups.ask(person(number))) for number in range(3)]
        await lookups.drain()
        assert [future.result() for future in asked] == [EXISTING] * 3
        assert service.closed
