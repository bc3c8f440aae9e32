"""Values generated together with their annotation, and the record types that the payload tests share."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import pydantic
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For property tests on a busy machine: no example may fail for being slow."""

T = TypeVar("T")
Cents = NewType("Cents", int)


class Colour(enum.Enum):
    RED = "red"
    GREEN = 2
    PAIR = (1, "x")
    SCORES = [1, 2]  # noqa: RUF012 - an unhashable value is the case


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Place(NamedTuple):
    lat: float
    lon: float = 0.0


class Stop(TypedDict):
    name: str
    at: datetime
    note: NotRequired[str]


class Email(str):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclass
class Order:
    id: UUID
    lines: list[tuple[str, Money]]
    status: Colour = Colour.RED
    by_day: dict[date, set[int]] = field(default_factory=dict)
    total: int = field(init=False, default=0)
    parent: Order | None = None


@dataclass
class Box(Generic[T]):
    content: T
    spare: list[T] = field(default_factory=list)


@dataclass
class DateBox(Box[date]):
    label: str = ""


@dataclass
class Cat:
    kind: Literal["cat"]
    age: int


@dataclass
class Dog:
    kind: Literal["dog"]
    age: int


class Guest(pydantic.BaseModel):
    name: str = pydantic.Field(alias="guestName", serialization_alias="theName")
    born: date
    levels: set[Level] = set()
    place: Place | None = None

    model_config = pydantic.ConfigDict(validate_by_name=True)

    @pydantic.computed_field
    def shout(self) -> str:
        return self.name.upper()


Pair = tuple[Any, st.SearchStrategy[Any]]
"""An annotation and the strategy of its values."""

# whole seconds: CPython itself reads back an offset below one second as UTC
offsets = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
zones = st.timezones() | offsets
datetimes = st.datetimes(timezones=st.none() | zones) | st.builds(
    lambda value, fold: value.replace(fold=fold), st.datetimes(), st.integers(0, 1)
)
times = st.builds(
    lambda value, fold: value.replace(fold=fold), st.times(timezones=st.none() | zones), st.integers(0, 1)
)
decimals = st.decimals(allow_nan=False)
text = st.text(max_size=8)
places = st.builds(Place, st.floats(allow_nan=False), st.floats(allow_nan=False))
money = st.builds(Money, decimals, text)
orders = st.builds(
    Order,
    st.uuids(),
    st.lists(st.tuples(text, money), max_size=2),
    st.sampled_from(Colour),
    st.dictionaries(st.dates(), st.frozensets(st.integers(), max_size=3).map(set), max_size=2),
)
guests = st.builds(
    lambda name, born, levels, place: Guest(guestName=name, born=born, levels=levels, place=place),
    text,
    st.dates(),
    st.sets(st.sampled_from(Level)),
    st.none() | places,
)

described: list[Pair] = [
    (bool, st.booleans()),
    (int, st.integers()),
    (float, st.floats(allow_nan=False)),
    (str, text),
    (bytes, st.binary(max_size=8)),
    (datetime, datetimes),
    (date, st.dates()),
    (time, times),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Decimal, decimals),
]
"""Values that need no annotation to come back."""

scalars: list[Pair] = [
    *described,
    (type(None), st.none()),
    (Any, st.integers() | text),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Rights, st.sampled_from([Rights(0), Rights.READ, Rights.READ | Rights.WRITE])),
    (Cents, st.integers()),
    (Literal["a", 1, Level.HIGH], st.sampled_from(["a", 1, Level.HIGH])),
    (Annotated[int, "metadata"], st.integers()),
    (Email, text.map(Email)),
    (PurePosixPath, st.just(PurePosixPath("a/b"))),
    (IPv4Address, st.ip_addresses(v=4)),
    (bytearray, st.binary(max_size=4).map(bytearray)),
]
records: list[Pair] = [
    (Money, money),
    (Order, orders | st.builds(dataclasses.replace, orders, parent=orders)),
    (Place, places),
    (Guest, guests),
    (Stop, st.fixed_dictionaries({"name": text, "at": datetimes}, optional={"note": text})),
    (Cat | Dog, st.builds(Cat, st.just("cat"), st.integers()) | st.builds(Dog, st.just("dog"), st.integers())),
    (Money | Place | str | None, money | places | text | st.none()),
    (DateBox, st.builds(DateBox, st.dates(), st.lists(st.dates(), max_size=2), text)),
]
unfit = (Any, bytearray, Colour)
keys: list[Pair] = [*(each for each in scalars if each[0] not in unfit), (Money, money)]


def of_one(pair: Pair) -> st.SearchStrategy[Pair]:
    """Annotations that wrap one other."""
    inner, values = pair
    lists = st.lists(values, max_size=3)
    options: list[Pair] = [
        (list[inner], lists),
        (Sequence[inner], lists | lists.map(tuple)),
        (tuple[inner, ...], lists.map(tuple)),
        (deque[inner], lists.map(deque)),
        (Optional[inner], st.none() | values),  # noqa: UP045 - the old spelling is the case
        (Box[inner], st.builds(Box, values, lists)),
        (tuple[inner, str], st.tuples(values, text)),
        (dict[str, inner], st.dictionaries(text, values, max_size=3)),
        (OrderedDict[str, inner], st.dictionaries(text, values, max_size=3).map(OrderedDict)),
        (Mapping[str, inner], st.dictionaries(text, values, max_size=3)),
    ]
    return st.sampled_from(options)


def of_key(pair: Pair) -> st.SearchStrategy[Pair]:
    """Annotations whose items must be hashable."""
    inner, values = pair
    options: list[Pair] = [
        (set[inner], st.sets(values, max_size=3)),
        (frozenset[inner], st.frozensets(values, max_size=3)),
        (dict[inner, int], st.dictionaries(values, st.integers(), max_size=3)),
        (dict[tuple[inner, int], str], st.dictionaries(st.tuples(values, st.integers()), text, max_size=3)),
        (Counter[inner], st.dictionaries(values, st.integers(), max_size=3).map(Counter)),
        (
            Union[list[inner], dict[str, int]],  # noqa: UP007 - the old spelling is the case
            st.lists(values, max_size=3) | st.dictionaries(text, st.integers()),
        ),
    ]
    return st.sampled_from(options)


pairs: st.SearchStrategy[Pair] = st.recursive(
    st.sampled_from(scalars + records) | st.sampled_from(keys).flatmap(of_key),
    lambda inner: inner.flatmap(of_one),
    max_leaves=4,
)

plain_values = st.recursive(
    st.none() | st.one_of([strategy for _, strategy in described]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(text | st.integers() | st.uuids(), inner, max_size=3)
        | st.sets(text | st.integers() | st.tuples(text, st.dates()), max_size=3)
        | st.frozensets(st.frozensets(text, max_size=2), max_size=3)
    ),
    max_leaves=8,
)
"""Values that are wholly self-describing."""
