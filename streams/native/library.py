"""The C library as Python sees it: the structures of its headers, and its functions with their types."""

from __future__ import annotations

import ctypes
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from streams.native.build import library_path

#: Of a status that does not expire.
NEVER = 2**63 - 1


class NotBuilt(Exception):
    """The library of these sources is not there, or this machine cannot load it. The text says what to do."""


class View(Structure):
    """``cs_view``: bytes that somebody else owns."""

    _fields_ = (("at", c_void_p), ("length", c_size_t))


class Header(Structure):
    """``cs_header``: what the header of a batch says."""

    _fields_ = (
        ("bytes", c_int64),
        ("base_offset", c_int64),
        ("last_delta", c_int64),
        ("producer_id", c_int64),
        ("count", c_int64),
        ("first_timestamp", c_int64),
        ("append_timestamp", c_int64),
        ("attributes", c_uint),
    )


class Record(Structure):
    """``cs_record``: a record, whose views lie in its batch."""

    _fields_ = (
        ("offset", c_int64),
        ("timestamp", c_int64),
        ("key", View),
        ("value", View),
        ("headers", View),
        ("header_count", c_int64),
    )


class Batch(Structure):
    """``cs_batch``: a batch that is being filled."""

    _fields_ = (
        ("bytes", c_void_p),
        ("room", c_int64),
        ("used", c_int64),
        ("count", c_int64),
        ("first_timestamp", c_int64),
        ("max_timestamp", c_int64),
    )


class Piece(Structure):
    """``cs_piece``: a piece of a letter."""

    _fields_ = (("kind", c_int64), ("at", c_char_p), ("length", c_int64))


class Letter(Structure):
    """``cs_letter``: how one letter's record is written."""

    _fields_ = (
        ("value", POINTER(Piece)),
        ("value_pieces", c_int64),
        ("headers", POINTER(Piece)),
        ("header_pieces", c_int64),
        ("header_count", c_int64),
    )


#: ``cs_decide``: takes a key with its length, an organisation, and milliseconds since the epoch. A plain
#: function that is called while the lock of the interpreter is free.
Decide = CFUNCTYPE(c_int64, c_void_p, c_int64, c_int64, c_int64)


class Partition(Structure):
    """``cs_partition``: what does not change from one pass over a partition to the next."""

    _fields_ = (
        ("letters", POINTER(Letter)),
        ("letter_count", c_int64),
        ("id_prefix", c_char_p),
        ("id_prefix_length", c_int64),
        ("confirm_stage", c_char_p),
        ("confirm_stage_length", c_int64),
        ("repeat_stage", c_char_p),
        ("repeat_stage_length", c_int64),
        ("index", c_void_p),
        ("decide", Decide),
    )


class Tally(Structure):
    """``cs_tally``: how many emails an organisation got of one letter."""

    _fields_ = (("letter", c_int64), ("org_id", c_int64), ("emails", c_int64))


class Span(Structure):
    """``cs_span``: how many emails in a row answer actions of one timestamp."""

    _fields_ = (("timestamp", c_int64), ("emails", c_int64))


class Aborted(Structure):
    """``cs_aborted``: a transaction that was aborted."""

    _fields_ = (("producer_id", c_int64), ("first_offset", c_int64), ("ended", c_int64))


class Pass(Structure):
    """``cs_pass``: a pass over what was fetched."""

    _fields_ = (
        ("partition", POINTER(Partition)),
        ("secret", c_char_p),
        ("fetched", c_char_p),
        ("fetched_length", c_int64),
        ("aborted", POINTER(Aborted)),
        ("aborted_count", c_int64),
        ("moment", c_char_p),
        ("moment_length", c_int64),
        ("now_ms", c_int64),
        ("timestamp_ms", c_int64),
        ("batch", c_void_p),
        ("tallies", POINTER(Tally)),
        ("tally_slots", c_int64),
        ("spans", POINTER(Span)),
        ("span_slots", c_int64),
        ("most_emails", c_int64),
        ("at", c_int64),
        ("next_offset", c_int64),
        ("following", c_int64),
        ("within", c_int64),
        ("records", c_void_p),
        ("records_length", c_int64),
        ("record_at", c_int64),
        ("records_left", c_int64),
        ("header", Header),
        ("tallies_used", c_int64),
        ("spans_used", c_int64),
        ("other_stage", c_int64),
        ("no_consent", c_int64),
        ("tombstones", c_int64),
        ("why", c_int64),
        ("unusual", Record),
    )


class Survey(Structure):
    """``cs_survey``: what a fetch has."""

    _fields_ = (
        ("next_offset", c_int64),
        ("count", c_int64),
        ("timestamp", c_int64),
        ("compressed", c_int64),
    )


_KEY = (c_void_p, c_char_p, c_char_p, c_size_t)  # index, secret, and a key with its length
_KEYS = (c_void_p, c_char_p, c_char_p, c_char_p, c_uint64)  # keys in a row, the length of each, their number
#: By name of a function: the type of its result, and those of its arguments. These may take long: the
#: interpreter's lock is let go of while they run.
_LONG: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "cs_run": (c_int, (POINTER(Pass),)),
    "cs_look": (c_int, (c_char_p, c_int64, c_int64, POINTER(Survey))),
    "cs_seal": (None, (POINTER(Batch), c_int64, c_int64, c_int64)),
}
#: These take less time than to get the lock again when other threads want it, too.
_SHORT: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "cs_layout": (None, (POINTER(c_uint64),)),
    "cs_crc32c": (c_uint32, (c_char_p, c_size_t)),
    "cs_crc32c_by_tables": (c_uint32, (c_char_p, c_size_t)),
    "cs_crc32c_by_hardware": (c_int, ()),
    "cs_siphash128": (None, (c_char_p, c_char_p, c_size_t, POINTER(c_uint64))),
    "cs_index_new": (c_void_p, (c_uint64,)),
    "cs_index_free": (None, (c_void_p,)),
    "cs_index_use": (None, (c_void_p, c_char_p)),
    "cs_index_release": (None, (c_void_p, c_char_p)),
    "cs_index_given_up": (c_uint64, (c_void_p, c_char_p)),
    "cs_index_put": (None, (*_KEYS, c_char_p, c_char_p)),
    "cs_index_forget": (None, _KEYS),
    "cs_index_look_up": (c_int, (*_KEY, c_int64)),
    "cs_append": (c_int, (POINTER(Batch), c_int64, c_char_p, c_int64, c_char_p, c_int64)),
}
_STRUCTURES = (View, Header, Record, Batch, Piece, Letter, Partition, Tally, Span, Aborted, Pass, Survey)


def load(path: Path | None = None) -> Any:
    """Return the library: an object that has its functions.

    Args:
        path: of a library; None: the one that is built for this environment.

    Raises:
        NotBuilt: it is not there, cannot be loaded, or has other functions or structures than these.
    """
    path = path or library_path()
    functions = {}
    try:
        for loaded, declared in ((ctypes.CDLL(str(path)), _LONG), (ctypes.PyDLL(str(path)), _SHORT)):
            for name, (result, arguments) in declared.items():
                functions[name] = getattr(loaded, name)
                functions[name].restype, functions[name].argtypes = result, arguments
    except (OSError, AttributeError):  # or it has no such function
        raise NotBuilt(
            f"the native pass is not built, or not for this machine: {path} cannot be loaded. Remove that"
            " file if it is there, and build it with python -m streams.native.build"
        ) from None
    sizes = (c_uint64 * len(_STRUCTURES))()
    functions["cs_layout"](sizes)
    if [*sizes] != [ctypes.sizeof(each) for each in _STRUCTURES]:
        raise NotBuilt(
            f"the native pass cannot be used: the structures of {path} have other sizes than those of Python"
        )
    return SimpleNamespace(**functions)
