"""In which partition a key belongs: Kafka's default partitioner, as the Java clients have it.

An action meets its status only in the partition of ``orgId:contactRef``. A producer that keys by something
else, or hashes otherwise (librdkafka's default is CRC32), puts it where its row is not.
"""

from murmurhash2 import murmurhash2

_SEED = 0x9747B28C  # as ``org.apache.kafka.common.utils.Utils.murmur2`` has it


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition, of `partitions`, that a key belongs to."""
    return (murmurhash2(key, _SEED) & 0x7FFFFFFF) % partitions
