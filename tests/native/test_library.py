"""What the C library computes, beside others that compute the same."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

import pytest
from aiokafka.record.util import calc_crc32c

from streams.messages.email import EmailWriter
from streams.native.build import build, library_path
from streams.native.library import _STRUCTURES, NotBuilt, load
from tests.fuzz.mutations import good_action
from tests.fuzz.wire import batches, read
from tests.native.built import KnownStatuses, library, native_pass


def test_the_checksum_is_crc_32c_with_the_instruction_and_without() -> None:
    """Both ways give what aiokafka's gives, for every length around their steps, and at odd addresses."""
    text = random.Random(3).randbytes(9_000)
    for length in [*range(40), *range(4_070, 4_095), 8_160, 8_999]:
        for begin in (0, 1):
            part = text[begin : begin + length]
            expected = calc_crc32c(part)
            assert library().cs_crc32c(part, len(part)) == expected
            assert library().cs_crc32c_by_tables(part, len(part)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "a3817f04ba25a8e66df67214c7550293"),
        (b"\0", "da87c1d86b99af44347659119b22fc45"),
    ],
)
def test_fingerprints_are_siphash_2_4_with_128_bits(text: bytes, expected: str) -> None:
    """The function gives what its authors' test vectors say for the key 00 01 … 0f."""
    made = (ctypes.c_uint64 * 2)()
    library().cs_siphash128(bytes(range(16)), text, len(text), made)
    assert b"".join(word.to_bytes(8, "little") for word in made).hex() == expected


@pytest.mark.parametrize("topic", ["a", "actions-of-a-long-name-that-needs-two-blocks", "t" * 249])
def test_ids_are_uuids_of_the_place(topic: str) -> None:
    """An email's id is the same as the path in Python gives it, for every length of topic and offset."""
    sent = good_action(1)
    statuses = KnownStatuses()
    statuses.know([sent.value], lambda _: True)
    for offset in (0, 9, 10, 99_999, 2**40, 2**62):
        writer = EmailWriter(topic, 2**31 - 1, 2**31 - 1)
        run = native_pass(batches([sent], offset, 0, 1), statuses, writer=writer)
        run.go_on()
        (record,) = read(bytes(run.batch.sealed(1, 0, 0)))
        assert record.headers[0] == ("ce_id", writer.id_of(offset).encode())


def test_a_library_that_is_not_there_is_said_to_be_not_built(tmp_path: Path) -> None:
    """The sentence names the file, and the command that makes it; a damaged file is told alike."""
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(b"no library")
    for path in (tmp_path / "missing.so", damaged):
        with pytest.raises(NotBuilt, match=r"\.so cannot be loaded.*python -m streams\.native\.build"):
            load(path)


def test_a_library_of_other_structures_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's structures must be those of the headers, also under -O: else nothing is loaded."""
    path = library_path()
    path = path if path.exists() else build(tmp_path)
    monkeypatch.setattr("streams.native.library._STRUCTURES", (*_STRUCTURES[1:], _STRUCTURES[0]))
    with pytest.raises(NotBuilt, match=r"the structures of .* have other sizes"):
        load(path)


def test_a_library_without_the_functions_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks a function that Python calls is no library of these sources."""
    (tmp_path / "other.c").write_text("int other(void) { return 1; }")
    monkeypatch.setattr("streams.native.build.SOURCES", tmp_path)
    with pytest.raises(NotBuilt, match="cannot be loaded"):
        load(build(tmp_path / "folder"))
