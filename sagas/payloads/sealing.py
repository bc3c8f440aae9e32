"""Codecs: what turns payload bytes into other bytes (encrypted, compressed) before they leave this process.

Law: whatever is made by user code (arguments, results, details, and the words of its errors) passes ``sealed`` on its
way out of a process and ``opened`` on its way in, and nothing in between looks inside. A sealed payload names the codec
that made it, so that keys rotate: the newest writes, all of them read. Without the codec a payload stays what it is,
opaque bytes: nothing is guessed, and nothing is lost.

Wire of a sealed payload: the byte 0xC1, which no msgpack begins with, then msgpack ``[name, bytes]``. Sealed words are
text: ``[sealed <name> <base64 of bytes>]``, so that they may stand inside a longer reason.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

import msgpack

from sagas import limits
from sagas.errors import CodecError, InvalidArgument, PayloadError

_MARK = b"\xc1"
_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_WORDS = re.compile(r"\[sealed ([A-Za-z0-9._:/-]{1,64}) ([A-Za-z0-9+/=]*)\]")


@runtime_checkable
class Codec(Protocol):
    """Encrypts or compresses payloads. Called on any thread, also while saga code runs: pure computation, no I/O.

    ``name`` is stored with every payload, in the clear: a new key is a new codec with another name (letters, digits,
    ``. _ : / -``, at most 64). ``decode(encode(data)) == data``; ``decode`` raises for bytes it cannot open.
    """

    @property
    def name(self) -> str: ...
    def encode(self, data: bytes, /) -> bytes: ...
    def decode(self, data: bytes, /) -> bytes: ...


class _Codecs:
    """Those of this process: one that writes (None: payloads leave as they are), and all that read."""

    writer: Codec | None = None
    readers: dict[str, Codec] = {}  # noqa: RUF012  # there is one table a process
    on_unreadable: Callable[[CodecError], None] = staticmethod(lambda _error: None)
    around: Callable[[], AbstractContextManager[None]] = staticmethod(nullcontext)


def use_codec(codec: Codec | None, *retired: Codec) -> None:
    """Seal everything this process writes from now on with ``codec``, and open what it or ``retired`` ones have sealed.

    For the whole process: call it in the module that declares the sagas, or one that it imports; hosts and workers load
    that, and clients import it. Called again, the new codec writes, and those known before still read. ``None``: write
    in the clear from now on. Raises: InvalidArgument.
    """
    for each in (*([] if codec is None else [codec]), *retired):
        if not isinstance(each, Codec) or not isinstance(each.name, str) or not _NAME.fullmatch(each.name):
            raise InvalidArgument(
                f"{each!r} is no codec: it needs encode(bytes), decode(bytes), and a name of letters, digits, . _ : / -"
            )
        _Codecs.readers[each.name] = each
    _Codecs.writer = codec


def on_unreadable(told: Callable[[CodecError], None]) -> None:
    """``told`` hears of every payload that cannot be opened, before its reader does, who may be code that hides it."""
    _Codecs.on_unreadable = told


def call_codecs_inside(around: Callable[[], AbstractContextManager[None]]) -> None:
    """Where a codec does its work: saga code may not throw dice, but the codec that works for it draws its nonces."""
    _Codecs.around = around


# --- payloads


def sealed(data: bytes) -> bytes:
    """A payload as it leaves this process.

    Raises: PayloadError when it is larger than a payload may be, or the codec cannot encode it.
    """
    most = limits.LIMITS.payload_bytes
    if len(data) > most:
        raise PayloadError(
            f"a payload of {len(data):,} bytes is too large, {most:,} is the most: "
            "store the value elsewhere, and pass what names it"
        )
    codec = _Codecs.writer
    if codec is None:
        return data
    packed: bytes = msgpack.packb((codec.name, _encoded(codec, data)))
    return _MARK + packed


def opened(data: bytes) -> bytes:
    """The payload in ``data``, which may be sealed.

    Raises: CodecError when its codec is not known to this process, or cannot open it.
    """
    if data[:1] != _MARK:
        return data
    if data[1:2] == b"\xc0":
        raise PayloadError("a large payload lies beside the history this came from: read it by way of a client")
    try:
        name, content = msgpack.unpackb(data[1:])
    except Exception as error:
        raise PayloadError(f"a sealed payload of {len(data)} bytes is damaged: {error}") from error
    return _decoded(str(name), content)


def is_sealed(data: bytes) -> bool:
    """Whether some codec has made these bytes."""
    return data[:1] == _MARK


# --- words


def sealed_words(text: str) -> str:
    """Words that may tell of a user's data, as they leave this process. Raises: PayloadError."""
    codec = _Codecs.writer
    if codec is None or not text or _WORDS.fullmatch(text):
        return text
    return f"[sealed {codec.name} {base64.b64encode(_encoded(codec, text.encode())).decode()}]"


def opened_words(text: str) -> str:
    """The same words with all that this process can open in the clear, and the rest named by its codec."""
    return _WORDS.sub(_clear, text) if "[sealed " in text else text


def concealed_words(text: str) -> str:
    """The same words without what was sealed: for places that are not to learn it, such as spans."""
    return _WORDS.sub(_named, text) if "[sealed " in text else text


def _clear(found: re.Match[str]) -> str:
    try:
        codec = _Codecs.readers[found[1]]
        with _Codecs.around():
            return codec.decode(base64.b64decode(found[2], validate=True)).decode()
    except (KeyError, binascii.Error, UnicodeDecodeError):
        return _named(found)
    except Exception:  # the codec's own, of a class only it knows
        return _named(found)


def _named(found: re.Match[str]) -> str:
    return f"(sealed with {found[1]!r})"


def _encoded(codec: Codec, data: bytes) -> bytes:
    try:
        with _Codecs.around():
            return codec.encode(data)
    except Exception as error:  # the codec's own, of a class only it knows
        raise PayloadError(
            f"codec {codec.name!r} could not encode a payload: {type(error).__name__}: {error}"
        ) from error


def _decoded(name: str, content: bytes) -> bytes:
    codec = _Codecs.readers.get(name)
    if codec is None:
        raise _unreadable(CodecError(name, "this process has no codec of that name"))
    try:
        with _Codecs.around():
            return codec.decode(content)
    except Exception as error:  # the codec's own, of a class only it knows
        raise _unreadable(CodecError(name, f"it raised {type(error).__name__}: {error}")) from error


def _unreadable(error: CodecError) -> CodecError:
    _Codecs.on_unreadable(error)
    return error
