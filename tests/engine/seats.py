"""Processes for dedicated instances that are none: everything that goes in and out is copied, as on its way to one."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from sagas.engine.placement import Seat, SeatLost
from sagas.engine.resident import Input, Resident, Turn
from sagas.kernel.registry import Registry
from sagas.kernel.saga import SagaType
from sagas.store.port import Loaded


class Rooms:
    """A placement that the test holds in its hand."""

    def __init__(self, *known: Any, limit: int = 10) -> None:
        self.limit = limit
        self.registry = Registry()
        for definition in known:
            self.registry.add(definition)
        self.free = asyncio.Event()  # cleared: there is nothing of what processes ask for
        self.free.set()
        self.answers = asyncio.Event()  # cleared: turns do not come back
        self.answers.set()
        self.opened: list[str] = []
        self.seats: list[Room] = []
        self.turns = 0
        self.dies_at: Callable[[int], bool] = lambda _turn: False  # before it has run any code of that turn
        self.dies_after: Callable[[int], bool] = lambda _turn: False  # when nobody has its answer yet

    async def open(self, id: str, saga_type: SagaType) -> Seat:
        self.opened.append(id)
        await self.free.wait()
        room = Room(self, id)
        self.seats.append(room)
        return room

    def open_seats(self) -> list[str]:
        return [room.id for room in self.seats if not room.closed]


class Room:
    """One of them."""

    def __init__(self, rooms: Rooms, id: str) -> None:
        self.id = id
        self.closed = False
        self._rooms = rooms
        self._resident = Resident(id, rooms.registry)

    async def load(self, loaded: Loaded) -> None:
        self._check()
        self._resident.load(copy.deepcopy(loaded))

    async def turn(self, inputs: list[Input], now_ms: int, *, run: bool) -> tuple[Turn, bool]:
        rooms = self._rooms
        rooms.turns += 1
        number = rooms.turns
        if rooms.dies_at(number):
            self.close()
        self._check()
        made: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._make, copy.deepcopy(inputs), now_ms, run, made)
        turn = await made
        await rooms.answers.wait()
        if rooms.dies_after(number):
            self.close()
        self._check()
        return copy.deepcopy(turn), bool(self._resident.inputs)

    def _make(self, inputs: list[Input], now_ms: int, run: bool, made: asyncio.Future[Turn]) -> None:
        self._resident.inputs.extend(inputs)
        made.set_result(self._resident.turn(now_ms, run=run))

    def _check(self) -> None:
        if self.closed:
            raise SeatLost("it was killed")

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._resident.evict()
