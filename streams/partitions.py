"""What this worker does with the action partitions it has: catch up on statuses, then run their lanes."""

from __future__ import annotations

from collections.abc import Iterable

from streams.delivery.lanes import Lanes
from streams.statuses.catch_up import CatchUp


class Partitions:
    """The owner of the actions topic's partitions (see :class:`streams.kafka.chunks.PartitionOwner`)."""

    def __init__(self, lanes: Lanes, catch_up: CatchUp) -> None:
        """Combine a worker's `lanes` with the `catch_up` of the statuses that they read."""
        self._lanes = lanes
        self._catch_up = catch_up
        #: Whether the group has given us an assignment, if only an empty one.
        self.joined = False

    async def assigned(self, partitions: Iterable[int], generation: int) -> None:
        """See :class:`streams.kafka.chunks.PartitionOwner`."""
        partitions = set(partitions)
        self._catch_up.assigned(partitions)
        await self._lanes.assigned(partitions, generation)
        self.joined = True

    async def revoked(self, partitions: Iterable[int]) -> None:
        """See :class:`streams.kafka.chunks.PartitionOwner`."""
        self.joined = False
        self._catch_up.stop()
        await self._lanes.revoked(partitions)

    def accepts(self, partition: int) -> bool:
        """See :class:`streams.kafka.chunks.PartitionOwner`."""
        return self._catch_up.whole(partition) and self._lanes.accepts(partition)
