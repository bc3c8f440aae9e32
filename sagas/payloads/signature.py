"""The view of a callable that calls need: which arguments fit it, and how they travel.

Law: arguments travel by position wherever they can, however they were written, so that renaming a parameter, or an undo
that calls it otherwise, does no harm; trailing defaults stay behind, so that they can change.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

from sagas.errors import ArgumentMismatch, PayloadError
from sagas.payloads import arguments, hints, wire
from sagas.payloads.containers import decode_places
from sagas.payloads.misfit import Misfit
from sagas.payloads.sealing import opened, sealed
from sagas.payloads.shape import ANYTHING, Shape
from sagas.payloads.shapes import shape_of

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_AWAITED = (collections.abc.Awaitable, collections.abc.Coroutine)


class Signature:
    """Parameters and resolved annotations of a callable. Immutable; get one with ``Signature.of``.

    Attributes: ``name`` (qualified), ``annotations`` (parameter name to annotation), ``returns`` (what it returns, or
    what awaiting it gives; Any if it does not say).
    """

    __slots__ = ("_keywords", "_least", "_most", "_named", "_positional", "_rest", "_signature", "annotations", "name",
                 "returns")  # fmt: skip

    def __init__(self, name: str, signature: inspect.Signature, annotations: Mapping[str, Any], returns: Any) -> None:
        self.name = name
        self.annotations = annotations
        self.returns = returns
        self._signature = signature
        parameters = signature.parameters.values()
        places_ = [each for each in parameters if each.kind in _POSITIONAL]
        self._positional = tuple(shape_of(annotations[each.name]) for each in places_)
        self._rest = self._shape_of_kind(inspect.Parameter.VAR_POSITIONAL)
        self._keywords = self._shape_of_kind(inspect.Parameter.VAR_KEYWORD)
        self._named = {
            each.name: shape_of(annotations[each.name])
            for each in parameters
            if each.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        }
        self._least, self._most = _counts(signature)

    @staticmethod
    def of(target: Callable[..., Any], *, skip_self: bool = False) -> Signature:
        """The signature of a function, or of a class's constructor; ``skip_self`` leaves the first parameter out.

        Raises: ArgumentMismatch when the callable has no readable signature (some builtins).
        """
        return _of(target, skip_self)

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The payload of a call with these arguments (form: ``arguments.py``).

        Raises: ArgumentMismatch when they do not fit; PayloadError when one cannot travel.
        """
        if not kwargs and self._least <= len(args) <= self._most:
            return sealed(wire.pack(list(args), "args"))
        return sealed(arguments.pack(*self._arrange(args, kwargs)))

    def decode(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments to call with, as annotated: ``f(*args, **kwargs)``.

        Raises: PayloadError when the bytes are damaged, do not fit the annotations, or are too many or too few.
        """
        values, named = arguments.unpack(opened(data))
        if named or not self._least <= len(values) <= self._most:
            self._check(values, named)
        try:
            decode_places(
                values, self._positional if self._rest is None else chain(self._positional, repeat(self._rest))
            )
            return tuple(values), {key: self._by_name(key, each) for key, each in named.items()} if named else {}
        except Misfit as misfit:
            raise misfit.error("args") from misfit.__cause__
        except RecursionError:
            raise wire.too_deep("args") from None

    def __str__(self) -> str:
        return f"{self.name}{self._signature}"

    def _arrange(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments by position as far as possible; a default before one that was given is sent along."""
        try:
            given = self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise ArgumentMismatch(f"{self} does not take these arguments: {error}") from None
        values: list[Any] = []
        waiting: list[Any] = []
        named: dict[str, Any] = {}
        for parameter in self._signature.parameters.values():
            name, is_given = parameter.name, parameter.name in given
            if parameter.kind in _POSITIONAL:
                waiting.append(given[name] if is_given else parameter.default)
                if is_given:
                    values.extend(waiting)
                    waiting.clear()
            elif is_given and parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                values.extend(given[name])
            elif is_given and parameter.kind is inspect.Parameter.VAR_KEYWORD:
                named.update(given[name])
            elif is_given:
                named[name] = given[name]
        return values, named

    def _check(self, values: list[Any], named: dict[str, Any]) -> None:
        try:
            self._signature.bind(*values, **named)
        except TypeError as error:
            raise PayloadError(
                f"args: {self} does not take what was sent: {error}; keep old parameters, give new ones defaults"
            ) from None

    def _by_name(self, name: str, raw: Any) -> Any:
        try:
            return (self._named.get(name) or self._keywords or ANYTHING).decode(raw)
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from misfit.__cause__

    def _shape_of_kind(self, kind: Any) -> Shape | None:
        for each in self._signature.parameters.values():
            if each.kind is kind:
                return shape_of(self.annotations[each.name])
        return None


def _counts(signature: inspect.Signature) -> tuple[int, float]:
    """The fewest and most arguments that fit by position alone; an empty range when some must be named."""
    parameters = signature.parameters.values()
    required = [each.kind for each in parameters if each.default is inspect.Parameter.empty]
    if inspect.Parameter.KEYWORD_ONLY in required:
        return 1, 0
    takes_any = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
    most = float("inf") if takes_any else sum(each.kind in _POSITIONAL for each in parameters)
    return sum(kind in _POSITIONAL for kind in required), most


@lru_cache(maxsize=8192)
def _of(target: Callable[..., Any], skip_self: bool) -> Signature:
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise ArgumentMismatch(f"{name} has no signature that can be read ({error}): wrap it in a function") from None
    parameters = list(signature.parameters.values())[1 if skip_self else 0 :]
    signature = signature.replace(parameters=parameters)
    found = _annotations(target)
    annotations = {each.name: found.get(each.name, Any) for each in parameters}
    returns = Any if isinstance(target, type) else _awaited(found.get("return", Any))
    return Signature(name, signature, annotations, returns)


def _annotations(target: Any) -> dict[str, Any]:
    if not isinstance(target, type):
        return hints.of_function(target if hasattr(target, "__annotations__") else _called(target))
    init = inspect.getattr_static(target, "__init__")
    found = hints.of_function(init)
    if dataclasses.is_dataclass(target):  # a generated __init__ copies annotations; the fields know their modules
        fields, copied = hints.of_class(target), inspect.get_annotations(init)
        found.update({each.name: fields[each.name] for each in dataclasses.fields(target)
                      if copied.get(each.name) == each.type})  # fmt: skip
    return found


def _called(target: Any) -> Any:
    """The function behind a partial or a callable object."""
    return getattr(target, "func", None) or type(target).__call__


def _awaited(annotation: Any) -> Any:
    if typing.get_origin(annotation) in _AWAITED:
        return typing.get_args(annotation)[-1]
    return annotation
