"""A saga of each everyday kind, in a module that hosts and workers of a cluster can import.

What activities did stands in a diary, a file: they run in who knows which process.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

import sagas
from sagas import Rejected, Retry, activity, compensating, query, saga, signal, update

QUICK = Retry(initial=0.05, max_attempts=5)


class SoldOut(Rejected): ...


def write(diary: str, line: str) -> None:
    """One line, whole whoever writes beside."""
    file = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def read(diary: Path) -> list[str]:
    """The lines so far."""
    return diary.read_text().splitlines() if diary.exists() else []


@activity(retry=QUICK, timeout=30)
async def reserve(diary: str, what: str) -> str:
    if what == "sold out":
        raise SoldOut(what)
    write(diary, f"reserve {what}")
    return f"<{what}>"


@reserve.compensation(retry=Retry(initial=0.05))
async def release(reserved: str | None, diary: str, what: str) -> None:
    write(diary, f"release {what} {reserved}")


@activity(retry=QUICK, timeout=30)
def pay(diary: str, failures: int) -> str:
    """In a thread; fails so many times, and goes on where it was."""
    step = sagas.step()
    seen = step.heartbeat_details or 0
    sagas.heartbeat(seen + 1)
    write(diary, f"pay {step.attempt} {seen} {step.idempotency_key}")
    if step.attempt <= failures:
        raise ConnectionError("the bank is away")
    return f"paid at {step.attempt}"


@saga
async def order(diary: str, items: list[str], failures: int = 0) -> str:
    async with compensating():
        for item in items:
            await reserve(diary, item)
        return await pay(diary, failures)


@saga
async def naps(diary: str) -> list[str]:
    async def nap(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(name)

    woken: list[str] = []
    async with asyncio.TaskGroup() as group:
        for name, seconds in (("c", 0.3), ("a", 0.1), ("b", 0.2)):
            group.create_task(nap(name, seconds))
    try:
        async with asyncio.timeout(0.1):
            await asyncio.sleep(3600)
    except TimeoutError:
        woken.append("in time")
    return woken


@saga
async def double(number: int) -> int:
    return 2 * number


@saga
async def doubles(numbers: list[int]) -> list[int]:
    return await asyncio.gather(*(sagas.child(double, number) for number in numbers))


@saga
@dataclass
class Till:
    """Counts what it is told, until it is closed; cancelled, it releases its counter."""

    diary: str
    total: int = 0
    open: bool = field(default=True, init=False)

    async def run(self) -> int:
        async with compensating():
            await reserve(self.diary, "counter")
            await sagas.wait_until(lambda: not self.open)
        return self.total

    @signal
    def put(self, cents: int) -> None:
        self.total += cents

    @signal
    def close(self) -> None:
        self.open = False

    @signal
    async def send_home(self, other: str) -> None:
        await sagas.instance(other).signal("put", self.total)

    @query
    def content(self) -> int:
        return self.total

    @update
    async def take(self, cents: int) -> int:
        self.total -= cents
        await reserve(self.diary, f"{cents} taken")
        return self.total

    @take.validator
    def check(self, cents: int) -> None:
        if cents > self.total:
            raise ValueError("there is not so much in it")


@saga
async def breaks() -> str:
    return {"some": "thing"}["else"]


@saga(timeout=0.5)
async def too_long(diary: str) -> None:
    async with compensating():
        await reserve(diary, "patience")
        await asyncio.sleep(3600)
