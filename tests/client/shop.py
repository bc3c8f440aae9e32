"""Sagas that the client's tests start."""

from __future__ import annotations

from dataclasses import dataclass

import sagas


class SoldOut(sagas.Rejected):
    """Nothing left."""


@sagas.activity
async def add(left: int, right: int) -> int:
    return left + right


@sagas.saga
async def total(left: int, right: int) -> int:
    return await add(left, right)


@sagas.saga
async def sell(item: str) -> None:
    raise SoldOut(item)


@sagas.saga
@dataclass
class Counter:
    """Counts what it is told, until it is told to stop."""

    count: int = 0
    stopped: bool = False

    async def run(self) -> int:
        await sagas.wait_until(lambda: self.stopped)
        return self.count

    @sagas.signal
    def more(self, by: int) -> None:
        self.count += by

    @sagas.signal
    def stop(self) -> None:
        self.stopped = True

    @sagas.query
    def so_far(self) -> int:
        return self.count
