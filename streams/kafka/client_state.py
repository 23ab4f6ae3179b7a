"""What may be read of an aiokafka consumer from another thread than its own, at any moment.

Its thread changes it meanwhile: it may not have connected yet, be given other partitions, or stop between two
reads. So each attribute is read once, and whatever it holds is an answer. None of this raises.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from aiokafka import TopicPartition


class Membership(NamedTuple):
    """As which a consumer takes part in its group."""

    generation: int
    member_id: str
    instance_id: str | None  # ``group.instance.id``


def membership(consumer: Any, generation: int) -> Membership | None:
    """Return as which a consumer takes part in its group's `generation`; None: it is in another one by now.

    Args:
        consumer: an ``AIOKafkaConsumer``; None: there is none yet.
        generation: of an assignment.
    """
    coordinator = None if consumer is None else consumer._coordinator
    if coordinator is None:
        return None
    member_id = coordinator.member_id  # first: when it is forgotten, the generation has been
    if coordinator.generation != generation or not member_id:
        return None
    return Membership(generation, member_id, coordinator._group_instance_id)


def coordinator_is_known(consumer: Any) -> bool:
    """Return whether a broker is known that coordinates the group; not while the heartbeats fail.

    Args:
        consumer: an ``AIOKafkaConsumer``; None: there is none yet.
    """
    coordinator = None if consumer is None else consumer._coordinator  # None until it has connected
    return coordinator is not None and coordinator.coordinator_id is not None


def fetch_position(consumer: Any, partition: TopicPartition) -> tuple[int, int] | None:
    """Return the end of a partition's log, and the offset up to which it was fetched; None: not known.

    Args:
        consumer: an ``AIOKafkaConsumer``; None: there is none yet.
        partition: need not be one of its own.
    """
    subscription = None if consumer is None else consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    state = None if assignment is None else assignment.state_value(partition)
    if state is None:
        return None
    end, position = state.highwater, state._position
    return None if end is None or position is None else (end, position)
