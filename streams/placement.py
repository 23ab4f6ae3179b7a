"""In which partition a key belongs: Kafka's default partitioner, as the Java clients have it.

An action meets its status only in the partition of ``orgId:contactRef``. A producer that keys by something
else, or hashes otherwise (librdkafka's default is CRC32), puts it where its row is not.
"""

from __future__ import annotations

from struct import unpack_from

_SEED = 0x9747B28C
_M = 0x5BD1E995
_32_BITS = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """Hash `key` as ``org.apache.kafka.common.utils.Utils.murmur2`` does, as an unsigned 32-bit number."""
    length = len(key)
    words = length >> 2
    h = _SEED ^ length
    for k in unpack_from(f"<{words}I", key):
        k = k * _M & _32_BITS
        h = (h * _M ^ (k ^ k >> 24) * _M) & _32_BITS
    rest = key[words << 2 :]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _32_BITS
    h ^= h >> 13
    h = h * _M & _32_BITS
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition, of `partitions`, that a key belongs to."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
