"""The settled offsets beyond the committed one, as text in the commit's metadata."""

import base64
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery import commit_metadata
from streams.delivery.commit_metadata import MAX_AWAITING, MAX_SPAN, Run, UnreadableMetadata, decode, encode

LENGTHS = st.integers(0, 3) | st.integers(0, 1 << 22)


@st.composite
def runs_beyond(draw: st.DrawFn) -> tuple[int, list[Run]]:
    committed = draw(st.integers(0, 1 << 60))
    runs: list[Run] = []
    previous = committed
    for distance, length in draw(st.lists(st.tuples(LENGTHS, LENGTHS), max_size=40)):
        first = previous + 1 + distance
        runs.append((first, first + length))
        previous = first + length
    return committed, runs


def offsets_of(runs: list[Run]) -> set[int]:
    return {offset for first, last in runs for offset in range(first, last + 1)}


# -- the metadata string ------------------------------------------------------------------------------------


@given(runs_beyond())
def test_what_is_encoded_decodes_to_the_same(case: tuple[int, list[Run]]) -> None:
    """Decoding beside the same committed offset gives the runs back, from printable ASCII."""
    committed, runs = case
    metadata = encode(committed, runs)
    assert decode(committed, metadata) == runs
    assert set(metadata) <= set(string.ascii_letters + string.digits + string.punctuation)


@pytest.mark.parametrize("metadata", ["", None])
def test_no_metadata_lists_nothing(metadata: str | None) -> None:
    """A group that only ever committed an offset has nothing settled beyond it."""
    assert decode(7, metadata) == []
    assert encode(7, []) == ""


def _sealed(committed: int, raw: bytes) -> str:
    """Metadata with a good checksum, whatever is in it."""
    text = base64.b85encode(raw).decode()
    return f"cs1.{zlib.crc32(f'{committed}.{text}'.encode()):08x}.{text}"


def test_the_layout_is_what_is_documented() -> None:
    """Version, CRC-32 of committed offset and text, base85 of varint pairs: other versions rely on it."""
    assert encode(100, [(101, 101), (500, 700)]) == _sealed(100, bytes([1, 0, 0x8F, 3, 0xC8, 1]))


@pytest.mark.parametrize(
    "metadata",
    [
        "x",
        "cs1",
        "cs1.",
        "cs1.00000000",
        "cs1.00000000.",
        "cs2.00000000.00",
        "CS1.00000000.00",
        "leader-epoch=4",
        '{"client":"another"}',
        "cs1.00000000.é",
        "\N{SNOWMAN}" * 30,
        _sealed(0, bytes([5])),  # half a run
        _sealed(0, bytes([5, 0x80])),  # half a number
        _sealed(0, bytes([0, 3])),  # a run that begins at the committed offset
        _sealed(0, bytes([5, 3, 0, 3])),  # runs that overlap
        _sealed(0, b"\xff" * 12 + b"\x01\x01"),  # more than 64 bits
        _sealed(9, bytes([5, 3])),  # belongs to another committed offset
        f"cs1.{zlib.crc32(b'0.~~~~~'):08x}.~~~~~",  # base85 beyond 32 bits
        f"cs1.{zlib.crc32(b'0.,,'):08x}.,,",  # not base85
    ],
)
def test_what_it_did_not_write_is_refused(metadata: str) -> None:
    """Foreign, newer, cut off or senseless metadata raises rather than being half understood."""
    with pytest.raises(UnreadableMetadata):
        decode(0, metadata)


@given(runs_beyond(), st.data())
def test_one_changed_character_is_noticed(case: tuple[int, list[Run]], data: st.DataObject) -> None:
    """Whichever single character is replaced, decoding raises: it never gives other offsets."""
    committed, runs = case
    metadata = encode(committed, [*runs, (committed + (1 << 62), committed + (1 << 62))])
    index = data.draw(st.integers(0, len(metadata) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda character: character != metadata[index]))
    with pytest.raises(UnreadableMetadata):
        decode(committed, metadata[:index] + other + metadata[index + 1 :])


@given(runs_beyond(), st.data())
def test_a_truncated_text_is_noticed(case: tuple[int, list[Run]], data: st.DataObject) -> None:
    """A text that lost its end raises."""
    committed, runs = case
    metadata = encode(committed, [*runs, (committed + (1 << 62), committed + (1 << 62))])
    with pytest.raises(UnreadableMetadata):
        decode(committed, metadata[: data.draw(st.integers(1, len(metadata) - 1))])


@given(runs_beyond(), st.integers(0, 1 << 60))
def test_metadata_beside_another_offset_is_refused(case: tuple[int, list[Run]], other: int) -> None:
    """Who moves the committed offset and keeps the metadata (a mirror) makes it unreadable, not wrong."""
    committed, runs = case
    runs = [*runs, (committed + (1 << 62), committed + (1 << 62))]
    if other != committed:
        with pytest.raises(UnreadableMetadata):
            decode(other, encode(committed, runs))


def test_the_worst_case_fits_under_the_brokers_cap() -> None:
    """As many runs as can be, each as far from the last and as long as can be, take less than 4,096 bytes."""
    runs: list[Run] = []
    previous = 0
    for _ in range(MAX_AWAITING + 1):
        runs.append((previous + MAX_SPAN - 1, previous + 2 * (MAX_SPAN - 1)))
        previous = runs[-1][1]
    assert len(encode(0, runs)) < commit_metadata.METADATA_CAP


# -- the window against a plain model -----------------------------------------------------------------------
