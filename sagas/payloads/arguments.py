"""The bytes of a call's arguments: a msgpack array, which is why one more value can be put in front unread.

Law: ``[value, ...]``, and, only if there are keyword arguments, one last item of extension 11 (``wire.Named``) that
holds them as a map. An argument payload is a payload like any other: ``decode(data)`` shows it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgpack

from sagas.errors import PayloadError
from sagas.payloads import wire
from sagas.payloads.sealing import opened, sealed

_NONE = b"\xc0"


def pack(values: Sequence[object], named: dict[str, object]) -> bytes:
    """Raises: PayloadError, with paths that begin with ``args[i]`` or ``args.name``."""
    if not named:
        return wire.pack(list(values), "args")
    content = wire.pack(named, "args")
    return wire.pack([*values, msgpack.ExtType(11, content)], "args")


def unpack(data: bytes) -> tuple[list[Any], dict[str, Any]]:
    """The wire values, by position and by name.

    Raises: PayloadError.
    """
    values = wire.unpack(data)
    if type(values) is not list:
        raise PayloadError(f"args: expected the arguments of a call, found {type(values).__name__}")
    if not values or type(values[-1]) is not wire.Named:
        return values, {}
    named = values.pop()
    if any(type(name) is not str for name in named):
        raise PayloadError("args: the names of keyword arguments must be text")
    return values, named


def prepend(result: bytes | None, args: bytes) -> bytes:
    """The argument payload ``args`` with the value ``result`` (None: not known) in front, for an undo.

    Raises: PayloadError when ``args`` is no argument payload; CodecError when one of them cannot be opened here.
    """
    args, result = opened(args), _NONE if result is None else opened(result)
    count, start = _header(args)
    header: bytes = msgpack.Packer(buf_size=16).pack_array_header(count + 1)
    return sealed(header + result + args[start:])


def _header(args: bytes) -> tuple[int, int]:
    """The number of items of a msgpack array and where they start."""
    first = args[0] if args else 0
    if first & 0xF0 == 0x90:
        return first & 0x0F, 1
    for code, form in ((0xDC, ">H"), (0xDD, ">I")):
        if first == code and len(args) > struct.calcsize(form):
            return struct.unpack_from(form, args, 1)[0], 1 + struct.calcsize(form)
    raise PayloadError("args: these bytes are not the arguments of a call")
