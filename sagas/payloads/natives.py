"""Shapes of the builtin scalars: returned as they came, or made from the text and number forms that JSON has."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sagas.payloads.misfit import refused, unexpected
from sagas.payloads.shape import NONE, Decoder, Shape


def _scalar(kind: type, also: tuple[type, ...] = (), makers: dict[type, Decoder] | None = None) -> Shape:
    """``kind`` and ``also`` pass as they are; other wire types go through their maker, or do not fit."""
    name = kind.__name__
    plain = NONE | {kind, *also}
    makers = makers or {}

    def decode(raw: Any) -> Any:
        if type(raw) in plain:
            return raw
        maker = makers.get(type(raw))
        if maker is None:
            raise unexpected(name, raw)
        try:
            return maker(raw)
        except (ValueError, ArithmeticError) as error:
            raise refused(name, error) from error

    return Shape(name=name, decode=decode, plain=plain)


def _seconds(raw: float) -> timedelta:
    return timedelta(seconds=raw)


def _decimal(raw: float) -> Decimal:
    return Decimal(str(raw))  # the digits that were written, not the binary fraction


SCALARS: dict[object, Shape] = {
    bool: _scalar(bool),
    int: _scalar(int, (bool,)),
    float: _scalar(float, (int, bool)),  # as in Python an int is a float, and stays the int that was sent
    str: _scalar(str),
    bytes: _scalar(bytes),
    bytearray: _scalar(bytearray, makers={bytes: bytearray}),
    memoryview: _scalar(memoryview, makers={bytes: memoryview}),
    datetime: _scalar(datetime, makers={str: datetime.fromisoformat}),
    date: _scalar(date, (datetime,), {str: date.fromisoformat}),
    time: _scalar(time, makers={str: time.fromisoformat}),
    timedelta: _scalar(timedelta, makers={int: _seconds, float: _seconds}),
    UUID: _scalar(UUID, makers={str: UUID}),
    Decimal: _scalar(Decimal, makers={str: Decimal, int: Decimal, float: _decimal}),
}


def made_from(kind: type, base: Shape) -> Shape:
    """A class that is called with a builtin value: ``class UserId(str)``, ``Path``, ``IPv4Address``."""

    def decode(raw: Any) -> Any:
        if raw is None or type(raw) is kind:
            return raw
        plain = base.decode(raw)
        try:
            return kind(plain)
        except Exception as error:  # the user's constructor
            raise refused(kind.__qualname__, error) from error

    return Shape(name=kind.__qualname__, decode=decode, wires=(base.plain | base.wires) - NONE)


def instance_of(kind: type) -> Shape:
    """Any other class: only a builtin value that is an instance already fits (``numbers.Number``, ``Hashable``)."""

    def decode(raw: Any) -> Any:
        if raw is None:
            return raw
        try:
            fits = isinstance(raw, kind)
        except TypeError:  # a Protocol that cannot be checked
            return raw
        if not fits:
            raise unexpected(f"{kind.__qualname__} (which is no dataclass, model, NamedTuple or Enum)", raw)
        return raw

    return Shape(name=kind.__qualname__, decode=decode)
