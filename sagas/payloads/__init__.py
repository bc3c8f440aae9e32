"""Payloads: Python values to msgpack bytes and back, by the annotated type. Everything that affects them lives here.

Law: bytes are a function of the value alone (never of the process, the hash seed or the annotation), and decoding
creates nothing but builtin values and the types named in the annotation. Nothing is imported, looked up or called by
a name that came out of the bytes. ``encode`` and ``decode`` (and ``Signature``, which goes through the same two
functions of ``wire.py``) are the only doors; a codec, where one is used, stands in each of them (``sealing.py``), and
what it makes of the bytes is its own affair.

What comes back is what went in, by kind of value:

* None, bool, int (of any size), float, str, bytes, list, dict, tuple, set, frozenset, datetime, date, time, timedelta,
  UUID, Decimal: with or without an annotation (``wire.py`` and ``scalars.py`` document their form).
* dataclass, pydantic model, NamedTuple, TypedDict, Enum, subclasses of the builtins, deque, Path, IP addresses: by the
  annotation. Without one they come back as dict, list or plain value (a set or a dict keyed by such values as a list).
* None is accepted for every annotation, because ``x: str = None`` is how much Python is written.
* The text forms of JSON (ISO dates, UUID and Decimal as text, lists for sets and tuples) are accepted where the
  annotation asks for the real type, so that arguments typed at a command line or sent over HTTP decode too.

Evolution: a dataclass, NamedTuple or model may gain a field with a default and lose any field; a function may gain
trailing parameters with defaults, and defaults may change, because those not given are not sent. In a union, exact
scalar types come first (so ``Colour | str`` with text values is always a str), then the record whose fields fit best;
give records with equal fields a ``Literal`` field.
"""

from __future__ import annotations

from typing import Any

from sagas.payloads import wire
from sagas.payloads.arguments import prepend
from sagas.payloads.misfit import Misfit
from sagas.payloads.sealing import opened, sealed
from sagas.payloads.shapes import shape_of
from sagas.payloads.signature import Signature

__all__ = ["Signature", "decode", "encode", "prepend"]


def encode(value: object) -> bytes:
    """The bytes of ``value``: equal for equal values in every process, where no codec is used.

    Raises: PayloadError naming the path inside the value (``value.address.lines[3]``) and what to use instead; or
    saying that it is too large.
    """
    return sealed(wire.pack(value, "value"))


def decode(data: bytes, annotation: object = Any) -> Any:
    """The value in ``data`` as the annotated type.

    Raises: PayloadError when the bytes are damaged, or hold something that is not of the annotated type; CodecError
    when they are sealed and cannot be opened here.
    """
    raw = wire.unpack(opened(data))
    shape = shape_of(annotation)
    if type(raw) in shape.plain:
        return raw
    try:
        return shape.decode(raw)
    except Misfit as misfit:
        raise misfit.error("value") from misfit.__cause__
    except RecursionError:
        raise wire.too_deep("value") from None
