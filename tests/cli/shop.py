"""The code of a user, as the tests of the command line have it in their folder."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

import sagas


class CardDeclined(sagas.Rejected):
    """The bank said no."""


@dataclass
class Trip:
    city: str
    cents: int = 100


@sagas.activity
async def book(city: str) -> str:
    return f"a hotel in {city}"


@book.compensation
async def unbook(hotel: str | None, city: str) -> None:
    """Nothing stays booked."""


@sagas.activity
async def charge(cents: int) -> int:
    if cents > 500:
        raise CardDeclined("no money")
    return cents


@sagas.activity
async def shout(text: str) -> None:
    print(f"printed {text}")  # noqa: T201  # what its developer must see
    logging.getLogger("shop").warning("logged %s", text)


@sagas.activity
def shout_in_a_thread(text: str) -> None:
    sys.stderr.write(f"complained {text}\n")


@sagas.saga
async def loud(text: str) -> None:
    await shout(text)
    await shout_in_a_thread(text)


@sagas.saga
async def book_trip(trip: Trip) -> dict[str, object]:
    async with sagas.compensating():
        hotel = await book(trip.city)
        cents = await charge(trip.cents)
    return {"hotel": hotel, "cents": cents}


@sagas.saga
@dataclass
class Subscription:
    user: str
    plan: str = "free"
    cancelled: bool = False

    async def run(self) -> str:
        await sagas.wait_until(lambda: self.cancelled)
        return f"{self.user} {self.plan}"

    @sagas.signal
    def change_plan(self, plan: str) -> None:
        self.plan = plan

    @sagas.signal
    def cancel(self) -> None:
        self.cancelled = True

    @sagas.update
    def upgrade(self, plan: str) -> str:
        if plan == "gold":
            raise ValueError("sold out")
        self.plan, before = plan, self.plan
        return before

    @upgrade.validator
    def check_upgrade(self, plan: str) -> None:
        if not plan:
            raise ValueError("name a plan")

    @sagas.query
    def state(self) -> dict[str, object]:
        return {"user": self.user, "plan": self.plan}


@sagas.saga
class Approval:
    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def run(self) -> list[object]:
        asked = [sagas.callback(), sagas.callback()]
        self.tokens = [each.token for each in asked]
        try:
            return [await asked[0], await asked[1]]
        except sagas.ActivityFailed as error:
            return [await asked[0], error.message]

    @sagas.query
    def all_tokens(self) -> list[str]:
        return self.tokens


@sagas.saga
async def nap(seconds: float) -> str:
    await sagas.sleep(seconds)
    return "rested"


@sagas.saga
async def echo(text: str) -> str:
    return text


@sagas.saga
async def buggy() -> None:
    raise KeyError("a bug")
