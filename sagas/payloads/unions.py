"""Shapes that choose: a union tries its members, a Literal and an Enum look the value up.

Law: exact scalar types first; then the members in the order of how well they fit (see ``_fit``), and of two that fit
equally well the one whose name sorts first, because Python holds ``A | B`` and ``B | A`` for equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

from sagas.payloads import wire
from sagas.payloads.misfit import Misfit, describe, unexpected
from sagas.payloads.shape import NONE, Shape

_LONGEST = 160  # of a member's reason, since unions within unions quote one another


def union(members: Sequence[Shape]) -> Shape:
    """One of ``members`` (None is one of every union)."""
    if any(member.anything for member in members):
        return next(member for member in members if member.anything)
    if len(members) == 1:
        return members[0]
    ordered = sorted(members, key=lambda member: member.name)
    plain = NONE.union(*(member.plain for member in members))
    name = " | ".join(member.name for member in members)

    def decode(raw: Any) -> Any:
        if type(raw) in plain:
            return raw
        misfits: list[str] = []
        for member in sorted(ordered, key=lambda member: _fit(member, raw)):
            try:
                return member.decode(raw)
            except Misfit as misfit:
                misfits.append(f"not {member.name}: {str(misfit.error('it'))[:_LONGEST]}")
        raise Misfit(f"expected {name}, found {describe(raw)} ({'; '.join(misfits[:4])})")

    wires = frozenset[type]().union(*(member.wires for member in members))
    return Shape(name=name, decode=decode, plain=plain, wires=wires)


def _fit(member: Shape, raw: Any) -> int:
    """How well a wire value looks like ``member``; 0 is best."""
    if member.record is not None and type(raw) is dict:
        record, keys = member.record(), raw.keys()
        if not record.required <= keys:
            return 5
        if record.names == keys:
            return 0
        return 1 if keys <= record.names else 3
    return 2 if type(raw) in member.wires else 4


def literal(values: tuple[Any, ...]) -> Shape:
    """One of the given values, of exactly their type: ``Literal[1]`` is neither True nor 1.0."""
    name = f"Literal[{', '.join(map(repr, values))}]"
    written = {wire.pack(value, name): value for value in values}  # bytes tell 1 from True; Enums travel as values

    def decode(raw: Any) -> Any:
        if raw is None:
            return raw
        key = wire.pack(raw, name)
        if key not in written:
            raise unexpected(name, raw)
        return written[key]

    return Shape(name=name, decode=decode, wires=frozenset(type(wire.unpack(data)) for data in written))


def enum(kind: type[Enum]) -> Shape:
    """A member by its value, which may be anything that travels; ``_missing_`` and flags work as in a call."""
    name = kind.__qualname__
    written: dict[bytes, Enum] = {}

    def decode(raw: Any) -> Any:
        try:
            return kind(raw)
        except Exception:  # not its value as it is (_missing_ may raise anything)
            member = _by_bytes(raw)
        if member is None and raw is not None:
            raise unexpected(name, raw)
        return member

    def _by_bytes(raw: Any) -> Enum | None:
        """A member whose value is itself a record comes as a map: known by its bytes."""
        if not written:
            written.update((wire.pack(member.value, name), member) for member in kind)
        return written.get(wire.pack(raw, name))

    wires = frozenset(type(member.value) for member in kind)
    return Shape(name=name, decode=decode, plain=frozenset(), wires=wires)  # not even None: it may be a value
