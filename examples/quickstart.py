"""The saga of the README: a trip that is booked, and one whose hotel is given back because the card is declined."""

import asyncio

import sagas
from sagas import Rejected, activity, compensating, saga


class CardDeclined(Rejected): ...


@activity
async def book_hotel(city: str) -> str:
    print(f"  hotel in {city} booked")
    return f"{city}-17"


@book_hotel.compensation
async def cancel_hotel(booking: str | None, city: str) -> None:
    print(f"  booking {booking} cancelled")


@activity
async def charge(cents: int) -> None:
    if cents > 100_00:
        raise CardDeclined(f"{cents / 100:.2f} is over the limit")
    print(f"  {cents / 100:.2f} charged")


@saga
async def book_trip(city: str, cents: int) -> str:
    async with compensating():
        booking = await book_hotel(city)
        await charge(cents)
    return booking


async def main() -> None:
    async with sagas.embedded() as client:
        for city, cents in (("Rome", 80_00), ("Oslo", 250_00)):
            try:
                print(city, "->", await client.execute(book_trip, city, cents))
            except sagas.SagaFailed as error:
                print(city, "->", error.cause_type, error.message)


if __name__ == "__main__":
    asyncio.run(main())
