"""Annotations as objects: strings resolved where their names can be found, type variables bound, wrappers taken off.

Law: an annotation that cannot be resolved is ``Any``; it never fails a definition. Only annotations written in source
are evaluated, never anything that was decoded.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, ForwardRef, NewType, NotRequired, Required, TypeVar

WRAPPERS: frozenset[object] = frozenset(
    {Annotated, ClassVar, Final, NotRequired, Required, getattr(typing, "ReadOnly", Final)}  # ReadOnly: since 3.13
)


def of_function(function: Callable[..., Any]) -> dict[str, Any]:
    """Parameter names (and "return") to annotations; names the function closes over are found too."""
    plain = inspect.unwrap(function)
    space = getattr(plain, "__globals__", None) or vars(sys.modules.get(getattr(plain, "__module__", ""), typing))
    return _resolve_all(inspect.get_annotations(plain), space, _closure(plain))


def of_class(kind: type) -> dict[str, Any]:
    """Field names to annotations, those of base classes with the names of their own modules."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # some name is not there: resolve the others
        hints: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        space = vars(sys.modules.get(base.__module__, typing))
        names = {**vars(base), base.__name__: base, kind.__name__: kind}
        hints.update(_resolve_all(inspect.get_annotations(base), space, names))
    return hints


def _closure(function: Any) -> dict[str, Any]:
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    found: dict[str, Any] = {}
    for name, cell in zip(code.co_freevars if code else (), cells or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet: the definition comes later
            continue
    return found


def _resolve_all(annotations: Mapping[str, Any], space: dict[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _resolve(annotation, space, names) for name, annotation in annotations.items()}


def _resolve(annotation: Any, space: dict[str, Any], names: Mapping[str, Any]) -> Any:
    def bearer() -> None: ...

    bearer.__annotations__ = {"it": annotation}
    try:
        return typing.get_type_hints(bearer, space, dict(names), include_extras=True)["it"]
    except Exception:  # NameError, or whatever evaluating a half-imported module's annotation raises
        return Any


def strip(annotation: Any) -> Any:
    """The annotation without what does not change how it travels: Annotated, NewType, Final, variables."""
    for _ in range(64):  # a variable bound to itself has no end
        inner = _inner(annotation)
        if inner is annotation:
            return annotation
        annotation = inner
    return Any


def _inner(annotation: Any) -> Any:
    if typing.get_origin(annotation) in WRAPPERS:
        return annotation.__origin__ if hasattr(annotation, "__metadata__") else typing.get_args(annotation)[0]
    if isinstance(annotation, NewType):
        return annotation.__supertype__
    if isinstance(annotation, dataclasses.InitVar):
        return annotation.type
    if isinstance(annotation, TypeVar):
        return _of_variable(annotation)
    if isinstance(annotation, str | ForwardRef):
        return Any
    return annotation


def _of_variable(variable: TypeVar) -> Any:
    if variable.__constraints__:
        return typing.Union[variable.__constraints__]  # noqa: UP007 - the members are only known at run time
    return variable.__bound__ or Any


def bind(annotation: Any, variables: Mapping[Any, Any]) -> Any:
    """The annotation with type variables replaced: ``list[T]`` of a ``Box[int]`` is ``list[int]``."""
    if not variables:
        return annotation
    if isinstance(annotation, TypeVar):
        return variables.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or typing.get_origin(annotation) is None:
        return annotation
    return annotation[tuple(variables.get(parameter, parameter) for parameter in parameters)]


def variables_of(kind: type, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """What the type variables of ``kind`` and of its generic bases stand for in ``kind[arguments]``."""
    own = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    found = dict(own)
    for base in getattr(kind, "__orig_bases__", ()):
        origin = typing.get_origin(base)
        if isinstance(origin, type) and origin is not typing.Generic:
            found.update(variables_of(origin, tuple(bind(each, own) for each in typing.get_args(base))))
    return found
