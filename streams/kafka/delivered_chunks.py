"""The chunks of partitions without an owner that an agent has, or has settled and nobody committed yet."""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterator

from faust.types import TP

from streams.kafka.chunks import Chunk


class DeliveredChunks:
    """By partition, in the order of their offsets. The offset to commit passes no unsettled chunk."""

    def __init__(self) -> None:
        """Begin with none."""
        self._chunks: dict[TP, deque[Chunk]] = defaultdict(deque)

    def add(self, chunk: Chunk) -> None:
        """Note that `chunk` is handed over, behind all others of its partition."""
        self._chunks[chunk.tp].append(chunk)

    def take_back(self, chunk: Chunk) -> None:
        """Note that `chunk` was not handed over. It may have been forgotten meanwhile."""
        if chunk in self._chunks[chunk.tp]:
            self._chunks[chunk.tp].remove(chunk)

    def forget(self, tp: TP) -> None:
        """Forget the chunks of a partition: they count no longer."""
        self._chunks.pop(tp, None)

    def forget_all(self) -> None:
        """Forget all chunks."""
        self._chunks.clear()

    def unsettled(self, tp: TP, before: float = math.inf) -> int:
        """Return how many chunks of `tp` are not settled, and begin before this offset."""
        return sum(
            not chunk.settled and chunk.records[0].offset < before for chunk in self._chunks.get(tp, ())
        )

    def unsettled_by_topic(self) -> Counter[str]:
        """Return how many chunks of each topic are not settled."""
        found: Counter[str] = Counter()
        for tp, chunks in self._chunks.items():
            if chunks:
                found[tp.topic] += self.unsettled(tp)
        return found

    def to_commit(self) -> Iterator[TP]:
        """Give the partitions whose first chunk is settled."""
        for tp, chunks in list(self._chunks.items()):
            if chunks and chunks[0].settled:
                yield tp

    def pop_settled(self, tp: TP) -> int | None:
        """Forget the settled chunks before the first that is not; return the offset after them, if any."""
        chunks, offset = self._chunks[tp], None
        while chunks and chunks[0].settled:
            offset = chunks.popleft().next_offset
        return offset
