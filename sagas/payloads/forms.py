"""How a value that msgpack cannot write becomes one that it can: one form a type, found once and remembered.

Law: a form depends on the value alone. It returns a plainer value (which may need a form again), or an extension of
``wire.py``; what has no form raises ``NoForm`` with the words that tell the user what to use instead.
"""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
from collections import deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgpack

from sagas.payloads import scalars

Pack = Callable[[object], bytes]
"""Packs the content of an extension container, one level deeper."""

Form = Callable[[Any, Pack], object]

TEXTS: tuple[type, ...] = (
    pathlib.PurePath,
    IPv4Address,
    IPv6Address,
    IPv4Interface,
    IPv6Interface,
    IPv4Network,
    IPv6Network,
)
"""Types that travel as their text, and are made from it by the annotation."""


class NoForm(Exception):
    """The value's type cannot travel; the text says what to do."""


def is_model(kind: type) -> bool:
    """Whether ``kind`` is a pydantic (v2) model, or anything that dumps and validates itself as one does."""
    return callable(getattr(kind, "model_dump", None)) and callable(getattr(kind, "model_validate", None))


def is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def form_of(kind: type) -> Form:
    form = _FORMS.get(kind)
    if form is None:
        form = _FORMS[kind] = _find(kind)
    return form


def _find(kind: type) -> Form:
    """By what the class says it is first, then by the builtin it inherits from, then by its text."""
    if issubclass(kind, Enum):
        return lambda value, pack: value.value
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if is_model(kind):
        return lambda value, pack: value.model_dump(round_trip=True, warnings=False)
    if is_named_tuple(kind):
        return lambda value, pack: list(value)
    for base, form in _BASES:
        if issubclass(kind, base):
            return form
    if issubclass(kind, TEXTS) or callable(getattr(kind, "unicode_string", None)):  # the latter: pydantic's URLs
        return lambda value, pack: str(value)
    return _nothing


def _dataclass(kind: type) -> Form:
    names = tuple(field.name for field in dataclasses.fields(kind))
    lost = [each.name for each in inspect.signature(kind).parameters.values() if _is_lost(each, names)]
    if lost:
        return _never(
            f"dataclass {kind.__qualname__} cannot be made again without {lost[0]!r}, which is no field of it; "
            "make it a field, or give it a default"
        )
    if len(names) < 2:
        return lambda value, pack: {name: getattr(value, name) for name in names}
    get = attrgetter(*names)

    def form(value: Any, pack: Pack) -> object:
        try:
            return dict(zip(names, get(value), strict=True))
        except AttributeError:  # an init=False field that was never set stays unset
            return {name: getattr(value, name) for name in names if hasattr(value, name)}

    return form


def _is_lost(parameter: inspect.Parameter, names: tuple[str, ...]) -> bool:
    """What the constructor needs and the instance does not keep (an ``InitVar``): it could never be decoded."""
    is_variadic = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and not is_variadic and parameter.name not in names


def _scalar(code: int, write: Callable[[Any], bytes]) -> Form:
    return lambda value, pack: msgpack.ExtType(code, write(value))


def _integer(value: int, pack: Pack) -> object:
    plain = int.__int__(value)
    return plain if -(2**63) <= plain < 2**64 else msgpack.ExtType(1, scalars.write_int(plain))


def _array(items: Iterable[object], pack: Pack) -> object:
    return list(items)


def _tuple(value: tuple[object, ...], pack: Pack) -> object:
    return msgpack.ExtType(8, pack(list(value)))


def _set(code: int) -> Form:
    def form(value: Iterable[object], pack: Pack) -> object:
        # the iteration order of a set differs between processes; that of its elements' bytes does not
        items = sorted(pack(item) for item in value)
        header: bytes = msgpack.Packer(buf_size=16).pack_array_header(len(items))
        return msgpack.ExtType(code, header + b"".join(items))

    return form


def _never(advice: str) -> Form:
    def form(value: object, pack: Pack) -> object:
        raise NoForm(advice)

    return form


def _nothing(value: object, pack: Pack) -> object:
    kind = type(value)
    raise NoForm(
        f"object of type {kind.__module__}.{kind.__qualname__} cannot be encoded; use a dataclass, a pydantic model, "
        "a NamedTuple, an Enum or builtin values, or send an id and look it up where it is used"
    )


# the first base that fits wins, so that a subclass stands before its own base: datetime is a date, bool an int
_BASES: tuple[tuple[type, Form], ...] = (
    (int, _integer),
    (float, lambda value, pack: float.__float__(value)),
    (str, lambda value, pack: str.__str__(value)),
    (bytes, lambda value, pack: bytes(value)),
    (bytearray, lambda value, pack: bytes(value)),
    (datetime, _scalar(2, scalars.write_datetime)),
    (date, _scalar(3, scalars.write_date)),
    (time, _scalar(4, scalars.write_time)),
    (timedelta, _scalar(5, scalars.write_timedelta)),
    (UUID, _scalar(6, scalars.write_uuid)),
    (Decimal, _scalar(7, scalars.write_decimal)),
    (tuple, _tuple),
    (set, _set(9)),
    (frozenset, _set(10)),
    (dict, lambda value, pack: dict(value)),
    (list, _array),
    (deque, _array),
)

_FORMS: dict[type, Form] = dict(_BASES)
