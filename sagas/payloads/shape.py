"""What an annotation compiles to: the decoder of its values, and what a union or container must know of it.

Law: a shape is made once an annotation and never changes; its decoder raises only ``Misfit``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Decoder = Callable[[Any], Any]
NONE = frozenset({type(None)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The names of a record's fields as they travel, and those without which it cannot be made."""

    names: frozenset[str]
    required: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A compiled annotation.

    ``decode`` takes a wire value (what ``wire.unpack`` gives). Wire values whose exact type is in ``plain`` it returns
    as they are, so that callers can skip the call; None always is. ``wires`` are the wire types it is written as when
    it is a container.
    """

    name: str
    decode: Decoder
    plain: frozenset[type] = NONE
    wires: frozenset[type] = frozenset()
    record: Callable[[], Record] | None = None  # called late: a record may be compiled before its class is complete
    anything: bool = False  # Any: decode is the identity

    def all_plain(self, items: Any) -> bool:
        """Whether every item would come back as it is; at C speed, for long lists of scalars."""
        return self.anything or self.plain.issuperset(map(type, items))


def _identity(raw: Any) -> Any:
    return raw


ANYTHING = Shape(name="Any", decode=_identity, anything=True)
