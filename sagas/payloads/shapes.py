"""From an annotation to its shape, once: this table says which annotations are understood.

Law: every annotation has a shape; one that says nothing about the wire (a garbage object, an unresolved name) is Any.
"""

from __future__ import annotations

import collections
import dataclasses
import types
import typing
from collections import abc, deque
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, Union

from sagas.payloads import containers, records, unions
from sagas.payloads.forms import TEXTS, is_model, is_named_tuple
from sagas.payloads.hints import strip
from sagas.payloads.natives import SCALARS, instance_of, made_from
from sagas.payloads.shape import ANYTHING, Shape

_NOTHING_SAID: tuple[object, ...] = (
    Any,
    object,
    None,
    type(None),
    typing.NoReturn,
    typing.Never,
    typing.Self,
)
_COLLECTIONS: dict[object, tuple[Callable[[Any], Any], frozenset[type], str]] = {
    list: (list, frozenset({list}), "list"),
    set: (set, frozenset({set}), "set"),
    frozenset: (frozenset, frozenset({frozenset}), "frozenset"),
    deque: (deque, frozenset(), "deque"),
    abc.Set: (set, frozenset({set, frozenset}), "Set"),
    abc.MutableSet: (set, frozenset({set}), "MutableSet"),
    abc.Sequence: (list, frozenset({list, tuple}), "Sequence"),
    abc.MutableSequence: (list, frozenset({list}), "MutableSequence"),
    abc.Collection: (list, containers.ARRAYS, "Collection"),
    abc.Iterable: (list, containers.ARRAYS, "Iterable"),
}
_MAPPINGS: dict[object, type | None] = {
    dict: None,
    abc.Mapping: None,
    abc.MutableMapping: None,
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: collections.defaultdict,
    collections.Counter: collections.Counter,
}


def shape_of(annotation: Any) -> Shape:
    """The shape of any annotation; compiled once (records inside it at their first use)."""
    try:
        return _remembered(annotation)
    except TypeError:  # it cannot be hashed: Annotated with a list, Literal with who knows what
        return _compile(annotation)


@lru_cache(maxsize=8192)
def _remembered(annotation: Any) -> Shape:
    return _compile(annotation)


def _compile(annotation: Any) -> Shape:
    annotation = strip(annotation)
    if any(annotation is each for each in _NOTHING_SAID):
        return ANYTHING
    origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return unions.union([shape_of(member) for member in arguments if member is not type(None)])
    if type(annotation).__name__ == "TypeAliasType":  # 3.12's ``type X = ...``, which may contain itself
        return Shape(name=annotation.__name__, decode=lambda raw: shape_of(annotation.__value__).decode(raw))
    if origin is Literal:
        return unions.literal(arguments)
    return _builtin(origin, arguments) or _class(origin, arguments)


def _builtin(origin: Any, arguments: tuple[Any, ...]) -> Shape | None:
    if origin in SCALARS:
        return SCALARS[origin]
    if origin in _COLLECTIONS:
        make, keeps, name = _COLLECTIONS[origin]
        return containers.collection(make, keeps, name, _argument(arguments, 0))
    if origin in _MAPPINGS:
        value = SCALARS[int] if origin is collections.Counter else _argument(arguments, 1)
        return containers.mapping(_MAPPINGS[origin], origin.__name__, _argument(arguments, 0), value)
    return _tuple(arguments) if origin is tuple else None


def _argument(arguments: tuple[Any, ...], index: int) -> Shape:
    return shape_of(arguments[index]) if index < len(arguments) else ANYTHING


def _tuple(arguments: tuple[Any, ...]) -> Shape:
    if Ellipsis in arguments:
        return containers.collection(tuple, frozenset({tuple}), "tuple", shape_of(arguments[0]))
    if not arguments or any(typing.get_origin(each) is typing.Unpack for each in arguments):
        return containers.collection(tuple, frozenset({tuple}), "tuple", ANYTHING)
    return containers.fixed_tuple(tuple(shape_of(each) for each in arguments))


def _class(kind: Any, arguments: tuple[Any, ...]) -> Shape:
    if not isinstance(kind, type):
        return ANYTHING
    if issubclass(kind, Enum):
        return unions.enum(kind)
    if dataclasses.is_dataclass(kind):
        return records.dataclass_shape(kind, arguments, shape_of)
    if is_model(kind):
        return records.model_shape(kind)
    if is_named_tuple(kind):
        return records.named_tuple_shape(kind, arguments, shape_of)
    if typing.is_typeddict(kind):
        return records.typed_dict_shape(kind, arguments, shape_of)
    return _derived(kind)


def _derived(kind: type) -> Shape:
    """A class made from a builtin value: a subclass of one, or one that travels as its text."""
    if issubclass(kind, TEXTS) or callable(getattr(kind, "unicode_string", None)):
        return made_from(kind, SCALARS[str])
    for base in (int, float, str, bytes):
        if issubclass(kind, base):
            return made_from(kind, SCALARS[base])
    for container in (dict, list, tuple, set, frozenset, deque):
        if issubclass(kind, container):
            return made_from(kind, shape_of(container))
    return instance_of(kind)
