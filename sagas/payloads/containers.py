"""Shapes of lists, sets, tuples and dicts: their items' decoders, and nothing at all where items are plain.

Law: one pass over the items; the place of the culprit is known from what was decoded before it. Decoders are long
rather than many: a value may be as deep as msgpack nests, and every frame a level counts to the recursion limit.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from sagas.payloads.misfit import Misfit, refused, unexpected
from sagas.payloads.shape import Shape
from sagas.payloads.wire import Pairs

ARRAYS = frozenset({list, tuple, set, frozenset})
"""Wire types that can become any collection: JSON has only lists, and sets of records travel to us as lists."""


def collection(make: Callable[[Iterable[Any]], Any], keeps: frozenset[type], name: str, item: Shape) -> Shape:
    """A homogeneous collection: of the wire's own type where that is in ``keeps``, else what ``make`` builds."""
    name = name if item.anything else f"{name}[{item.name}]"
    plain, decode_item = item.plain, item.decode

    def decode(raw: Any) -> Any:
        kind = type(raw)
        if kind not in ARRAYS:
            if raw is None:
                return raw
            raise unexpected(name, raw)
        if item.all_plain(raw):
            decoded = raw
        else:
            decoded = []
            try:
                for each in raw:
                    decoded.append(each if type(each) in plain else decode_item(each))
            except Misfit as misfit:
                raise misfit.inside(f"[{len(decoded)}]") from misfit.__cause__
        target = kind if kind in keeps else make
        if type(decoded) is target:
            return decoded
        try:
            return target(decoded)
        except TypeError as error:  # an element that cannot be hashed
            raise refused(name, error) from error

    return Shape(name=name, decode=decode, wires=keeps)


def fixed_tuple(items: tuple[Shape, ...]) -> Shape:
    """``tuple[X, Y]``: one shape a place."""
    name = f"tuple[{', '.join(item.name for item in items)}]"

    def decode(raw: Any) -> Any:
        if raw is None:
            return raw
        if type(raw) is not tuple and type(raw) is not list:
            raise unexpected(name, raw)
        if len(raw) != len(items):
            raise Misfit(f"expected {name}, found {len(raw)} items")
        values = list(raw)
        decode_places(values, items)
        return tuple(values)

    return Shape(name=name, decode=decode, wires=frozenset({tuple}))


def decode_places(values: list[Any], items: Iterable[Shape]) -> None:
    """Decode values in place, each by the shape of its place, as many as there are of both."""
    place = 0
    try:
        for place, (raw, item) in enumerate(zip(values, items, strict=False)):
            if type(raw) not in item.plain:
                values[place] = item.decode(raw)
    except Misfit as misfit:
        raise misfit.inside(f"[{place}]") from misfit.__cause__


def mapping(make: type | None, name: str, key: Shape, value: Shape) -> Shape:
    """A dict; ``make`` is the class to build from it, None for dict itself."""
    if not (key.anything and value.anything):
        name = f"{name}[{key.name}, {value.name}]"

    def decode(raw: Any) -> Any:
        kind = type(raw)
        if kind is dict:
            if not (key.all_plain(raw) and value.all_plain(raw.values())):
                raw = _entries(raw.items(), key, value)
        elif kind is Pairs:
            raw = _entries(raw, key, value)
        elif raw is None:
            return raw
        else:
            raise unexpected(name, raw)
        return raw if make is None else _build(make, raw)

    return Shape(name=name, decode=decode, wires=frozenset({dict, Pairs}))


def _entries(entries: Iterable[tuple[Any, Any]], key: Shape, value: Shape) -> dict[Any, Any]:
    decoded: dict[Any, Any] = {}
    part = ""
    try:
        for raw_key, raw_value in entries:
            part = ".key"
            name = key.decode(raw_key)
            part = f"[{raw_key!r}]" if isinstance(raw_key, str | int) else f"[{type(raw_key).__name__}]"
            decoded[name] = value.decode(raw_value)
    except Misfit as misfit:
        raise misfit.inside(part) from misfit.__cause__
    except TypeError as error:  # the decoded key cannot be hashed
        raise refused("dict", error).inside(part) from error
    return decoded


def _build(make: type, content: dict[Any, Any]) -> Any:
    if make is defaultdict:
        return defaultdict(None, content)  # its factory is code, and does not travel
    if make in (Counter, OrderedDict):
        return make(content)
    try:
        return make(content)
    except Exception as error:  # the user's constructor
        raise refused(make.__qualname__, error) from error
