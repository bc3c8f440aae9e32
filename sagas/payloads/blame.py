"""Why a value could not be encoded: the path to the culprit and what to do about it. Runs only after a failure.

Law: packing carries no path, so that it is fast; when it fails, this walk finds the first part that cannot travel.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from sagas.errors import PayloadError
from sagas.payloads.forms import NoForm, form_of, is_model, is_named_tuple
from sagas.payloads.misfit import shorten

_DEEPEST = 450  # of this walk: below what msgpack can nest, and a frame a level below the interpreter's limit
_TOO_DEEP = "nested too deep; flatten the value, or store it elsewhere and send its id"


def blame(value: object, root: str, error: Exception) -> PayloadError:
    """The error to raise for ``value``, which failed to pack with ``error``."""
    try:
        found = _walk(value, root, set(), 0)
    except RecursionError as too_deep:
        found, error = None, too_deep
    if found is not None:
        return found
    if isinstance(error, RecursionError):
        return _at(root, _TOO_DEEP)
    return _at(root, f"cannot be encoded ({type(error).__name__}: {error})")


def _walk(value: object, path: str, above: set[int], depth: int) -> PayloadError | None:
    if id(value) in above:
        return _at(path, "contains itself; a payload is a tree: send ids where objects refer to each other")
    if depth == _DEEPEST:
        return _at(path, _TOO_DEEP)
    parts = _parts(value)
    above.add(id(value))
    for suffix, part in parts:
        found = _walk(part, path + suffix, above, depth + 1)
        if found is not None:
            return found
    above.discard(id(value))
    return _alone(value, path)


def _parts(value: object) -> Iterable[tuple[str, Any]]:
    """The parts of a container with their path suffixes; nothing for what has no parts."""
    kind = type(value)
    if isinstance(value, dict):
        return _items(value)
    if dataclasses.is_dataclass(kind):
        return _fields(value, [field.name for field in dataclasses.fields(kind)])
    if is_model(kind):
        return _fields(value, list(getattr(kind, "model_fields", ())))
    if isinstance(value, tuple) and is_named_tuple(kind):
        return zip((f".{name}" for name in kind._fields), value, strict=False)  # type: ignore[attr-defined]
    if isinstance(value, list | tuple | deque):
        return ((f"[{index}]", item) for index, item in enumerate(value))
    if isinstance(value, set | frozenset):
        return (("{}", item) for item in value)
    return ()


def _items(value: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        simple = isinstance(key, str | int)
        yield f".key({type(key).__name__})", key
        yield (f"[{key!r}]" if simple else f"[{type(key).__name__}]"), item


def _fields(value: object, names: list[str]) -> Iterator[tuple[str, Any]]:
    return ((f".{name}", getattr(value, name)) for name in names if hasattr(value, name))


def _alone(value: object, path: str) -> PayloadError | None:
    """What is wrong with the value apart from its parts."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return _at(path, "the text holds a lone surrogate, which UTF-8 cannot; send bytes instead")
        return None
    if value is None or isinstance(value, bool | int | float | bytes | bytearray | memoryview):
        return None
    try:
        form_of(type(value))(value, lambda content: b"")
    except RecursionError:
        raise
    except NoForm as reason:
        return _at(path, str(reason))
    except Exception as error:  # a property, serializer or conversion of the user's
        return _at(path, f"{type(value).__qualname__} cannot be encoded: {type(error).__name__}: {error}")
    return None


def _at(path: str, problem: str) -> PayloadError:
    return PayloadError(f"{shorten(path)}: {problem}")
