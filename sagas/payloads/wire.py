"""The doors: one function makes payload bytes and one reads them, both in terms of builtin values.

Law: msgpack, and for what msgpack lacks these extension codes, fixed for ever (0-127 are the application's):

====  ==========================================================================================
code  payload
====  ==========================================================================================
 1    int outside 64 bits: two's complement, big-endian
 2    datetime: fold, ISO text, ``[zone]``
 3    date: ISO text
 4    time: fold, ISO text, ``[zone]``
 5    timedelta: microseconds as in 1
 6    UUID: 16 bytes
 7    Decimal: text
 8    tuple: a msgpack array
 9    set: a msgpack array, its elements sorted by their bytes
10    frozenset: as set
11    keyword arguments: a msgpack map, only as the last item of an argument payload (``arguments.py``)
====  ==========================================================================================

msgpack's own timestamp (-1) is read as an aware UTC datetime and never written. Reading costs linear time and bounded
stack whatever the bytes are: containers in codes 8 to 11 nest at most ``DEEPEST`` times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack

from sagas.errors import PayloadError
from sagas.payloads import scalars
from sagas.payloads.blame import blame
from sagas.payloads.forms import form_of
from sagas.payloads.misfit import shorten

DEEPEST = 20
"""How deep tuples, sets and frozensets may nest in one another; lists, dicts and records nest about 500 deep.

msgpack recurses in C: 500 lists within each of 40 tuples would overrun an 8 MB stack, and end the process.
"""

_KEPT_BYTES = 256 * 1024  # a packer that grew beyond this is dropped instead of kept for the next value
_READY = frozenset({type(None), bool, int, float, str, bytes, bytearray, memoryview, list, dict, msgpack.ExtType})
_MOST_FORMS = 16  # an Enum of a subclass of a tuple takes three; a model that dumps to itself has no end
# First bytes of numbers, text, bytes, None, True and False: they need no hook, and to name one takes longer than to
# read such a value.
_PLAIN = frozenset((*range(0x80), *range(0xA0, 0xC7), *range(0xCA, 0xD4), *range(0xD9, 0xDC), *range(0xE0, 0x100)))
_INT64 = range(-(2**63), 2**64)

_SCALARS: dict[int, Callable[[bytes], object]] = {
    1: scalars.read_int,
    2: scalars.read_datetime,
    3: scalars.read_date,
    4: scalars.read_time,
    5: scalars.read_timedelta,
    6: scalars.read_uuid,
    7: scalars.read_decimal,
}


class Named(dict[str, Any]):
    """The keyword arguments of an argument payload (code 11)."""


class Pairs(list[tuple[Any, Any]]):
    """A map of which some key is itself a record: its (key, value) pairs, since a dict cannot hold them yet."""


def pack(value: object, root: str) -> bytes:
    """The bytes of any supported value; ``root`` is how errors call it.

    Raises: PayloadError.
    """
    try:
        return _WRITERS[0].pack(value)
    except Exception as error:  # user code runs in here too: properties, model serializers, __iter__
        raise blame(value, root, error) from error


def unpack(data: bytes) -> Any:
    """The builtin value in ``data``; records are still maps and arrays, sets of records are lists.

    Raises: PayloadError for bytes that ``pack`` cannot have made.
    """
    try:
        try:
            if data[0] in _PLAIN:
                return msgpack.unpackb(data)
            return _READERS[0](data)
        except TypeError:  # a map has a key that cannot be hashed
            return _PAIRWISE[0](data)
    except RecursionError:
        raise too_deep("value") from None
    except Exception as error:  # msgpack and the scalar readers raise a dozen unrelated classes
        reason = str(error) or type(error).__name__
        raise PayloadError(
            f"these bytes are no payload ({reason}): they are damaged, or a newer version or another codec wrote them"
        ) from error


def too_deep(path: str) -> PayloadError:
    return PayloadError(f"{shorten(path)}: nested too deep; flatten the value, or store it elsewhere and send its id")


class _Writer:
    """Packs at one nesting depth of the extension containers; packers are pooled, as making one costs 0.7 us.

    A packer is taken out of the pool while it works, so that threads and re-entrant calls never share one.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._pool: list[msgpack.Packer] = []

    def pack(self, value: object) -> bytes:
        try:
            packer = self._pool.pop()
        except IndexError:
            packer = msgpack.Packer(default=self._simplify, strict_types=True, buf_size=4096)
        data: bytes = packer.pack(value)
        if len(data) <= _KEPT_BYTES:
            self._pool.append(packer)
        return data

    def _simplify(self, value: object) -> object:
        """What msgpack is to write in place of ``value``: asked once a value, so it goes on until msgpack knows it."""
        for _ in range(_MOST_FORMS):
            value = form_of(type(value))(value, self._deeper)
            if type(value) in _READY and (type(value) is not int or value in _INT64):
                return value
        raise RecursionError

    def _deeper(self, value: object) -> bytes:
        if self._depth == DEEPEST:
            raise RecursionError
        return _WRITERS[self._depth + 1].pack(value)


def _reader(depth: int, *, pairwise: bool) -> Callable[[bytes], Any]:
    def extension(code: int, data: bytes) -> object:
        if code in _SCALARS:
            return _SCALARS[code](data)
        if code not in (8, 9, 10, 11):
            raise ValueError(f"unknown extension code {code}")
        if depth == DEEPEST:
            raise RecursionError
        return _container(code, readers[depth + 1](data))

    readers = _PAIRWISE if pairwise else _READERS
    options: dict[str, Any] = {"ext_hook": extension, "strict_map_key": False, "timestamp": 3}
    if pairwise:
        options["object_pairs_hook"] = _mapping
    return partial(msgpack.unpackb, **options)


def _container(code: int, items: Any) -> object:
    if type(items) is not (dict if code == 11 else list):
        raise ValueError(f"extension {code} does not hold its container")
    if code == 8:
        return tuple(items)
    if code == 11:
        return Named(items)
    try:
        return set(items) if code == 9 else frozenset(items)
    except TypeError:  # elements that are records: a list until the annotation says which
        return items


def _mapping(pairs: list[tuple[Any, Any]]) -> object:
    try:
        return dict(pairs)
    except TypeError:
        return Pairs(pairs)


_WRITERS = [_Writer(depth) for depth in range(DEEPEST + 1)]
_READERS: list[Callable[[bytes], Any]] = []
_PAIRWISE: list[Callable[[bytes], Any]] = []
_READERS.extend(_reader(depth, pairwise=False) for depth in range(DEEPEST + 1))
_PAIRWISE.extend(_reader(depth, pairwise=True) for depth in range(DEEPEST + 1))
