"""Kafka's default partitioner."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from streams.messages.keys import partition_of


@given(st.binary(min_size=1, max_size=100), st.integers(1, 64))
def test_the_partition_is_kafkas(key: bytes, partitions: int) -> None:
    """Every key belongs where a producer with the default partitioner puts it."""
    everywhere = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everywhere, everywhere)
