"""The sagas that the tests of the HTTP API run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import sagas


class CardDeclined(sagas.Rejected):
    """The bank said no."""


@sagas.activity
async def charge(cents: int) -> int:
    if cents > 500:
        raise CardDeclined("no money")
    return cents


@charge.compensation
async def refund(receipt: int | None, cents: int) -> None:
    """Nothing stays charged."""


@sagas.saga
async def pay(cents: int) -> dict[str, int]:
    async with sagas.compensating():
        paid = await charge(cents)
    return {"paid": paid}


@sagas.saga
@dataclass
class Tally:
    """Counts what it is told until it is closed."""

    name: str
    counts: list[int] = field(default_factory=list)
    closed: bool = False

    async def run(self) -> dict[str, object]:
        await sagas.wait_until(lambda: self.closed)
        return {"name": self.name, "counts": self.counts}

    @sagas.signal
    def add(self, count: int) -> None:
        self.counts.append(count)

    @sagas.signal
    def close(self) -> None:
        self.closed = True

    @sagas.update
    async def add_up(self, count: int) -> int:
        self.counts.append(await charge(count))
        return sum(self.counts)

    @add_up.validator
    def check_add_up(self, count: int) -> None:
        if count < 0:
            raise ValueError("only more can be added")

    @sagas.update
    async def rest(self, seconds: float) -> None:
        await sagas.sleep(seconds)

    @sagas.query
    def total(self) -> int:
        return sum(self.counts)

    @sagas.query
    def at(self, place: int) -> int:
        return self.counts[place]


@sagas.saga
async def nap(seconds: float) -> str:
    await sagas.sleep(seconds)
    return "rested"


@sagas.saga
async def echo(value: Any) -> Any:
    return value


@sagas.saga
async def buggy() -> None:
    raise KeyError("a bug")


@sagas.saga
class Approval:
    """Waits for somebody outside."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def run(self) -> Any:
        callback = sagas.callback()
        self.tokens.append(callback.token)
        return await callback

    @sagas.query
    def token(self) -> str:
        return self.tokens[0]


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Place(NamedTuple):
    x: int
    y: int


@dataclass
class Order:
    when: datetime
    day: date
    price: Decimal
    number: UUID
    size: Size
    tags: set[str]
    place: Place
    patience: timedelta
    note: str | None = None


@sagas.saga
async def typed(order: Order, *more: tuple[int, str]) -> list[str]:
    """What the arguments became, in words."""
    values = [order.when, order.day, order.price, order.number, order.size, order.tags, order.place, order.patience]
    return [type(each).__name__ for each in (*values, *more)]


@sagas.saga
async def values() -> dict[str, Any]:
    """A result of every kind that JSON has no form for."""
    return {
        "bytes": b"\x00\xff",
        "when": datetime.fromisoformat("2024-02-29T12:00:00+01:00"),
        "price": Decimal("1.10"),
        "number": UUID(int=7),
        "set": {2, 1},
        "tuple": (1, "two"),
        "patience": timedelta(minutes=1.5),
        "nan": float("nan"),
        "huge": 2**70,
        "keys": {1: "one"},
    }


@sagas.saga
async def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value
