"""Shapes of records: dataclass, NamedTuple, TypedDict and pydantic model, made again by their own constructors.

Law: only the annotated class is made. A missing key takes the field's default, so that a field can be added; an unknown
key is ignored, so that one can be removed. Field shapes are compiled at first use: records may contain themselves.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sagas.payloads import hints
from sagas.payloads.containers import decode_places
from sagas.payloads.misfit import Misfit, refused, unexpected
from sagas.payloads.shape import Decoder, Record, Shape

Compile = Callable[[Any], Shape]
Build = Callable[[dict[str, Any], dict[str, Any]], Any]
"""Makes a record of its decoded fields and the map they came in."""

_MAP = frozenset({dict})


def _shapes(kind: type, arguments: tuple[Any, ...], names: typing.Iterable[str], compile_: Compile) -> dict[str, Shape]:
    annotations, variables = hints.of_class(kind), hints.variables_of(kind, arguments)
    return {name: compile_(hints.bind(annotations.get(name, Any), variables)) for name in names}


def _missing(owner: str, names: typing.Iterable[str]) -> Misfit:
    which = ", ".join(sorted(names))
    return Misfit(f"{owner} lacks {which}; a field added later needs a default")


def _keyed(
    kind: type,
    record: Callable[[], Record],
    shapes: Callable[[], dict[str, Shape]],
    builder: Callable[[], Build],
) -> Shape:
    """A record that travels as a map: decodes the known fields that are there, and builds it."""
    owner = kind.__qualname__
    plan: tuple[frozenset[str], list[tuple[str, frozenset[type], Decoder]], Build] | None = None

    def decode(raw: Any) -> Any:
        nonlocal plan
        if type(raw) is not dict:
            if raw is None:
                return raw
            raise unexpected(owner, raw)
        if plan is None:
            fields = [(name, shape.plain, shape.decode) for name, shape in shapes().items()]
            plan = record().required, fields, builder()
        required, fields, build = plan
        if not required <= raw.keys():  # before any field: unions try members that do not fit
            raise _missing(owner, required - raw.keys())
        decoded: dict[str, Any] = {}
        name = ""
        try:
            for name, plain, decode_field in fields:
                if name in raw:
                    value = raw[name]
                    decoded[name] = value if type(value) in plain else decode_field(value)
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from misfit.__cause__
        return build(decoded, raw)

    return Shape(name=owner, decode=decode, wires=_MAP, record=record)


def dataclass_shape(kind: type, arguments: tuple[Any, ...], compile_: Compile) -> Shape:
    """Made by its constructor, then restored as it was sent where that would differ.

    Fields with ``init=False``, and all fields of a class with ``__post_init__``, are set again after construction, so
    that what the constructor derives or changes is not derived twice.
    """

    @lru_cache(maxsize=1)
    def record() -> Record:
        fields = dataclasses.fields(kind)
        return Record(
            names=frozenset(field.name for field in fields),
            required=frozenset(field.name for field in fields if field.init and not _has_default(field)),
        )

    @lru_cache(maxsize=1)
    def shapes() -> dict[str, Shape]:
        return _shapes(kind, arguments, [field.name for field in dataclasses.fields(kind)], compile_)

    return _keyed(kind, record, shapes, lambda: _dataclass_builder(kind))


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _dataclass_builder(kind: type) -> Build:
    fields = dataclasses.fields(kind)
    late = {field.name for field in fields if not field.init or hasattr(kind, "__post_init__")}
    accepted = frozenset(field.name for field in fields if field.init)

    def build(content: dict[str, Any], _: dict[str, Any]) -> Any:
        try:
            if not late:
                return kind(**content)
            value = kind(**{name: each for name, each in content.items() if name in accepted})
            for name in late & content.keys():
                object.__setattr__(value, name, content[name])  # frozen classes too
        except Exception as error:  # the user's constructor
            raise refused(kind.__qualname__, error) from error
        return value

    return build


def named_tuple_shape(kind: Any, arguments: tuple[Any, ...], compile_: Compile) -> Shape:
    """By position: missing trailing fields take their defaults, surplus ones are ignored."""
    names: tuple[str, ...] = kind._fields
    least = len(names) - len(kind._field_defaults)

    @lru_cache(maxsize=1)
    def shapes() -> tuple[Shape, ...]:
        return tuple(_shapes(kind, arguments, names, compile_).values())

    def decode(raw: Any) -> Any:
        if raw is None:
            return raw
        if type(raw) is not list and type(raw) is not tuple:
            raise unexpected(kind.__qualname__, raw)
        if len(raw) < least:
            raise _missing(kind.__qualname__, names[len(raw) : least])
        values = list(raw[: len(names)])
        decode_places(values, shapes())
        try:
            return kind(*values)
        except Exception as error:  # a subclass with a constructor of its own
            raise refused(kind.__qualname__, error) from error

    return Shape(name=kind.__qualname__, decode=decode, wires=frozenset({list}))


def typed_dict_shape(kind: Any, arguments: tuple[Any, ...], compile_: Compile) -> Shape:
    """A dict: unknown keys stay, as nothing needs to be made of them."""

    @lru_cache(maxsize=1)
    def record() -> Record:
        annotations = hints.of_class(kind)
        required = {name for name, each in annotations.items() if _is_required(kind, name, each)}
        return Record(names=frozenset(annotations), required=frozenset(required))

    @lru_cache(maxsize=1)
    def shapes() -> dict[str, Shape]:
        return _shapes(kind, arguments, record().names, compile_)

    return _keyed(kind, record, shapes, lambda: lambda content, raw: raw | content)


def _is_required(kind: Any, name: str, annotation: Any) -> bool:
    """The class itself does not see the marks inside annotations that were still text when it was made."""
    while (mark := typing.get_origin(annotation)) in hints.WRAPPERS:
        if mark in (typing.Required, typing.NotRequired):
            return mark is typing.Required
        annotation = typing.get_args(annotation)[0]
    return name in kind.__required_keys__


def model_shape(kind: Any) -> Shape:
    """The model validates itself, by field names, from the builtin values."""

    @lru_cache(maxsize=1)
    def record() -> Record:
        fields: dict[str, Any] = getattr(kind, "model_fields", {})
        required = frozenset(name for name, field in fields.items() if field.is_required())
        return Record(names=frozenset(fields), required=required)

    @lru_cache(maxsize=1)
    def validate() -> Decoder:
        options: dict[str, Any] = {"strict": False}  # Enums and nested models travel as plain values
        if "by_name" in inspect.signature(kind.model_validate).parameters:  # since pydantic 2.11
            options |= {"by_name": True, "by_alias": True}
        return lambda raw: kind.model_validate(raw, **options)

    def decode(raw: Any) -> Any:
        if raw is None:
            return raw
        try:
            return validate()(raw)
        except Exception as error:  # the model's validators
            raise refused(kind.__qualname__, error) from error

    return Shape(name=kind.__qualname__, decode=decode, wires=_MAP, record=record)
