"""What an event is, and how a chunk of events is written: append-only, tagged with integers, never renumbered.

Wire of a chunk: msgpack ``[SCHEMA, at_ms, [[tag, field, ...], ...]]``. A field is added only at the end of its
event and with a default, so that old chunks stay readable; a tag or schema this code does not know was written by a
newer version and is refused as such, never guessed at.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import field, fields
from typing import Any, ClassVar, TypeVar

import msgpack

from sagas.errors import HistoryError
from sagas.value import value

SCHEMA = 1
"""Version of the chunk's layout; raised only when an old reader could misunderstand a new chunk."""

BOUND = 2
"""A chunk of this schema holds chunks, not events: ``[BOUND, 0, [chunk, ...]]``; so a run takes over another's."""


@value(frozen=True, slots=True)
class Event:
    """Something that happened in a run. ``at_ms`` is the run's clock; it is stored once a chunk."""

    TAG: ClassVar[int]
    IDENTITY: ClassVar[tuple[str, ...]] = ()  # the fields that must agree when a replay meets it again

    at_ms: int = field(default=0, kw_only=True)

    def identity(self) -> str:
        """What a replay compares, in words: the kind of event and the fields that name it."""
        named = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.IDENTITY)
        return f"{type(self).__name__}({named})"


class Fact(Event):
    """An event that came from outside the saga's code: a message, a result, a timer."""

    __slots__ = ()


class Decision(Event):
    """An event that the saga's code caused: the command it gave, recorded. A replay must cause it again."""

    __slots__ = ()


E = TypeVar("E", bound=Event)
_Row = Callable[[Event], tuple[Any, ...]]
_classes: dict[int, tuple[type[Event], int]] = {}
_rows: dict[type[Event], _Row] = {}
_identities: dict[type[Event], Callable[[Event], object]] = {}


def tagged(tag: int) -> Callable[[type[E]], type[E]]:
    """Give an event class its number in stored histories."""

    def register(cls: type[E]) -> type[E]:
        if tag in _classes:
            raise ValueError(f"event tag {tag} is taken by {_classes[tag][0].__name__}")
        cls.TAG = tag
        names = tuple(f.name for f in fields(cls) if f.name != "at_ms")
        _classes[tag] = (cls, len(names))
        _rows[cls] = _row_of(tag, names)
        _identities[cls] = operator.attrgetter(*cls.IDENTITY) if cls.IDENTITY else lambda _event: None
        return cls

    return register


def _row_of(tag: int, names: tuple[str, ...]) -> _Row:
    if not names:
        return lambda _event: (tag,)
    if len(names) == 1:
        only = operator.attrgetter(names[0])
        return lambda event: (tag, only(event))
    several = operator.attrgetter(*names)
    return lambda event: (tag, *several(event))


def same(recorded: Event, repeated: Event) -> bool:
    """Whether a replayed decision is the recorded one (same kind, same identifying fields)."""
    kind = type(recorded)
    if kind is not type(repeated):
        return False
    identity = _identities[kind]
    return identity(recorded) == identity(repeated)


def encode_chunk(events: Iterable[Event], at_ms: int) -> bytes:
    """One transition's events as stored."""
    packed: bytes = msgpack.packb((SCHEMA, at_ms, [_rows[type(event)](event) for event in events]))
    return packed


def decode_chunk(chunk: bytes) -> list[Event]:
    """The events of a stored chunk.

    Raises: HistoryError when the bytes are damaged or were written by a newer version.
    """
    try:
        schema, at_ms, rows = msgpack.unpackb(chunk, use_list=False, strict_map_key=False)
    except Exception as error:
        raise HistoryError(
            f"a history chunk of {len(chunk)} bytes is damaged ({error}); nothing was changed"
        ) from error
    if schema == BOUND:
        return [event for each in split_chunk(chunk) for event in decode_chunk(each)]
    if schema != SCHEMA:
        raise HistoryError(f"this history has schema {schema}, this host reads {SCHEMA}: upgrade the host")
    try:
        return [_decode_row(row, at_ms) for row in rows]
    except (TypeError, LookupError) as error:
        raise HistoryError(
            f"a history chunk of {len(chunk)} bytes is damaged ({error}); nothing was changed"
        ) from error


def bind_chunks(chunks: Iterable[bytes]) -> bytes:
    """Several transitions' chunks as one."""
    packed: bytes = msgpack.packb((BOUND, 0, list(chunks)))
    return packed


def split_chunk(chunk: bytes) -> list[bytes]:
    """The chunks that a stored one binds together; another is alone.

    Raises: HistoryError when the bytes are damaged.
    """
    try:
        schema, _, bound = msgpack.unpackb(chunk, use_list=False, strict_map_key=False)
        if schema != BOUND:
            return [chunk]
        if not all(type(each) is bytes and split_chunk(each) == [each] for each in bound):
            raise TypeError("chunks hold events")
    except Exception as error:
        raise HistoryError(
            f"a history chunk of {len(chunk)} bytes is damaged ({error}); nothing was changed"
        ) from error
    return list(bound)


def _decode_row(row: tuple[Any, ...], at_ms: int) -> Event:
    known = _classes.get(row[0])
    if known is None or len(row) - 1 > known[1]:
        raise HistoryError(f"event tag {row[0]} with {len(row) - 1} fields is of a newer version: upgrade the host")
    return known[0](*row[1:], at_ms=at_ms)
