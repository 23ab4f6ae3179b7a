"""Open transactions: what makes readers of committed records stand still."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, NoError, for_code

from streams.commands.doctor.findings import Finding, note, ok, problem, seconds, warning
from streams.commands.doctor.wire import DescribeTransactions, ListTransactions

CHECK = "transactions"
#: A stable end that does not move for so long, in seconds, while records lie behind it.
STILL = 2.0
_LONG = 60.0  # seconds


class OpenTransaction(NamedTuple):
    """One open transaction in our topics."""

    transactional_id: str
    state: str
    timeout: float  # seconds
    since: float  # seconds since the epoch, by the coordinator's clock
    partitions: tuple[str, ...]


async def open_transactions(client: AIOKafkaClient, topics: Sequence[str]) -> list[OpenTransaction] | None:
    """Return the open transactions in `topics`, as far as one may see them; None: no broker lists any.

    Raises:
        KafkaError: a broker cannot be asked.
    """
    found: list[OpenTransaction] = []
    listed = False
    for broker in client.cluster.brokers():
        try:
            response: Any = await client.send(broker.nodeId, ListTransactions())
        except (NotImplementedError, KafkaError):
            continue  # before Kafka 3.0
        if for_code(response.error_code) is not NoError:
            continue
        listed = True
        ids = [each[0] for each in response.transactions]
        if ids:
            described: Any = await client.send(broker.nodeId, DescribeTransactions(ids))
            found += [one for each in described.transactions if (one := _open(each, topics)) is not None]
    return found if listed else None


def _open(each: Any, topics: Sequence[str]) -> OpenTransaction | None:
    code, transactional_id, state, timeout, start, _, _, touched, _ = each
    partitions = tuple(
        f"{topic}/{number}" for topic, numbers, _ in touched if topic in topics for number in numbers
    )
    if for_code(code) is not NoError or not partitions or start < 0:
        return None
    return OpenTransaction(transactional_id, state, timeout / 1000, start / 1000, partitions)


def check_open(found: Sequence[OpenTransaction] | None, now: float) -> list[Finding]:
    """Conclude from what brokers list; `now` in seconds since the epoch."""
    if found is None:
        return [note(CHECK, "no broker lists its transactions (Kafka 3.0 does, to who may describe them)")]
    findings = []
    for each in found:
        age = now - each.since
        what = (
            f"transaction {each.transactional_id} ({each.state}) is open for {seconds(age)} in "
            + ", ".join(each.partitions)
        )
        if age > each.timeout + _LONG:
            findings.append(
                problem(
                    CHECK,
                    f"{what}: longer than its timeout of {seconds(each.timeout)}, so nothing will end it",
                    "abort it: kafka-transactions.sh --bootstrap-server … abort --topic … --partition …",
                )
            )
        elif age > _LONG:
            findings.append(
                warning(
                    CHECK,
                    f"{what}: readers of committed records wait for it",
                    f"find its producer; the broker ends it after {seconds(each.timeout)}",
                )
            )
    return findings or [ok(CHECK, f"{len(found)} open, none for long")]


async def check_stable_ends(
    topic: str,
    stable: Callable[[], Awaitable[Mapping[int, int]]],
    ends: Callable[[], Awaitable[Mapping[int, int]]],
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> list[Finding]:
    """Tell where readers of committed records stand still: where `stable` is before `ends` and stays there.

    Both ask for an offset of each partition; `pause` waits for so many seconds between two looks.
    """
    before = await stable()
    behind = {number: end for number, end in (await ends()).items() if before[number] < end}
    if behind:
        await pause(STILL)
        after = await stable()
        behind = {
            number: end
            for number, end in behind.items()
            if after[number] == before[number] and after[number] < end
        }
    return [
        problem(
            CHECK,
            f"{topic}/{number}: readers of committed records stand still at offset {before[number]:,},"
            f" {end - before[number]:,} offsets before the end",
            "an open transaction is in the way: see above, or kafka-transactions.sh find-hanging",
        )
        for number, end in behind.items()
    ]
