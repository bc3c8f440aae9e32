"""The instances of a host that have processes of their own: how they come to one, make their turns there, and leave it.

Law: until its process is up an instance's mail is recorded here, as of one whose code nobody knows; a turn there begins
only when all before it is durable, so that whoever must begin anew finds everything in the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

from sagas.engine.clock import Clock
from sagas.engine.placement import Held, Placement, Seat, Seated, SeatLost
from sagas.engine.resident import Due, Input, MailInput, Resident, Stranded, Turn
from sagas.engine.shard import Shard, refuse_reports
from sagas.kernel.saga import SagaType
from sagas.store.keys import shard_of
from sagas.store.port import Loaded

log = logging.getLogger("sagas.engine")

_TRIES = 3
"""Processes that may die or hang over one turn, one after the other; then the instance parks."""

_AGAIN_S = 1.0


class Owner(Protocol):
    """What seating needs of the host."""

    def feed(self, shard: Shard, id: str, each: Input) -> None: ...
    def put(self, shard: Shard, held: Held) -> None:
        """It is in memory: its inputs may have their turn."""
        ...

    def made(self, shard: Shard, held: Held, turn: Turn, read_upto: str) -> None:
        """A turn was made: commit it."""
        ...

    def reload(self, shard: Shard, id: str) -> None:
        """Load it, with what waits for it."""
        ...

    def defective(self, shard: Shard, held: Held, inputs: Sequence[Input]) -> None:
        """A turn failed by a defect of ours."""
        ...

    def run_errand(self, work: Coroutine[Any, Any, None]) -> None: ...


class Seating:
    """See the module's law. Everything happens on the host's loop."""

    def __init__(
        self,
        placement: Placement,
        clock: Clock,
        shards: Mapping[int, Shard],
        owner: Owner,
        *,
        idle_s: float,
        turn_s: float,
    ) -> None:
        """``idle_s``: after this without a turn its process ends. ``turn_s``: a turn that takes longer hangs."""
        self._placement = placement
        self._clock = clock
        self._shards = shards
        self._owner = owner
        self._idle_s = idle_s
        self._turn_s = turn_s
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._ready: dict[str, Seat] = {}
        self._asked: dict[str, list[MailInput]] = {}  # what only its code can answer
        self._failures: Counter[str] = Counter()
        self._taken = 0  # processes that are up, or being made
        self._freed = asyncio.Event()

    # --- to a process

    def recorded(self, shard: Shard, resident: Resident) -> None:
        """It has had a turn here, which ran no code: whatever its code has to do now needs its process."""
        assert resident.apart is not None, "made by a host with such processes"
        id, asked = resident.id, resident.apart.take_asked()
        if asked:
            self._asked.setdefault(id, []).extend(asked)
        if resident.placed is None:
            self._give_up(id)
        elif asked or not resident.held:
            self._want(shard, id, resident.placed)

    def _want(self, shard: Shard, id: str, saga_type: SagaType) -> None:
        if id in self._ready:
            self._move(shard, id)
        elif id not in self._opening:
            self._opening[id] = asyncio.get_running_loop().create_task(self._open(id, saga_type))

    def _give_up(self, id: str) -> None:
        """Its run has ended: what was asked is answered without its code."""
        if (opening := self._opening.pop(id, None)) is not None:
            opening.cancel()
        if (seat := self._ready.pop(id, None)) is not None:
            self._end(seat)
        self._failures.pop(id, None)
        shard = self._shards.get(shard_of(id))
        for each in self._asked.pop(id, ()):
            if shard is not None:
                self._owner.feed(shard, id, each)

    async def _open(self, id: str, saga_type: SagaType) -> None:
        try:
            while self._taken >= self._placement.limit:
                if not self._end_one_at_rest():
                    self._freed.clear()
                    await self._freed.wait()
            self._taken += 1
            try:
                self._ready[id] = await self._placed(id, saga_type)
            except BaseException:
                self._free()
                raise
        finally:
            if self._opening.get(id) is asyncio.current_task():
                del self._opening[id]
        shard = self._shards.get(shard_of(id))
        if shard is None:
            self._end(self._ready.pop(id))
        else:
            self._move(shard, id)

    async def _placed(self, id: str, saga_type: SagaType) -> Seat:
        while True:
            try:
                return await self._placement.open(id, saga_type)
            except SeatLost as error:
                log.warning("no process for instance %r: %s", id, error)
                await asyncio.sleep(_AGAIN_S)

    def _move(self, shard: Shard, id: str) -> None:
        """Its process is up: have it loaded anew, into that."""
        resident = shard.residents.get(id)
        if isinstance(resident, Resident) and resident.apart is not None:
            if resident.idle and id not in shard.dirty:
                del shard.residents[id]
            else:
                resident.apart.moves = True
        self._owner.feed(shard, id, Due())

    def take(self, shard: Shard, resident: Resident, loaded: Loaded) -> bool:
        """Whether it is put into memory by this, in its own process; else its host does that, here."""
        seat = self._ready.pop(resident.id, None)
        if seat is None:
            return False
        if resident.placed is None:
            self._end(seat)
            return False
        shard.adopting.add(resident.id)
        shard.waiting.setdefault(resident.id, [])
        self._owner.run_errand(self._sit(shard, resident, seat, loaded))
        return True

    async def _sit(self, shard: Shard, resident: Resident, seat: Seat, loaded: Loaded) -> None:
        held: Held = resident
        try:
            async with asyncio.timeout(self._turn_s):
                await seat.load(loaded)
        except Exception as error:
            if not isinstance(error, SeatLost | TimeoutError):
                log.exception("instance %r cannot be rebuilt in its process", resident.id)
            self._end(seat)
            resident.inputs.extend(self._after_failure(resident.id, error))
        else:
            asked: list[Input] = list(self._asked.pop(resident.id, ()))
            held = Seated(resident.id, seat, [*resident.inputs, *asked], self._left)
        if self._shards.get(shard.number) is shard:
            shard.adopting.discard(resident.id)
            self._owner.put(shard, held)
        elif isinstance(held, Seated):
            held.evict()
            refuse_reports(held.untaken())

    # --- there

    def turn(self, shard: Shard, seated: Seated, *, run: bool) -> None:
        """Begin its next turn, unless one is under way or not durable yet: then it has one after that."""
        if seated.under_way or seated.in_commit:
            return
        seated.under_way = True
        if seated.alarm is not None:
            seated.alarm.cancel()
        self._owner.run_errand(self._make_turn(shard, seated, run=run))

    async def _make_turn(self, shard: Shard, seated: Seated, *, run: bool) -> None:
        read_upto = shard.read_upto
        try:
            async with asyncio.timeout(self._turn_s):
                turn = await seated.turn(self._clock.now_ms(), run=run)
        except (SeatLost, TimeoutError) as error:
            self._unseat(shard, seated, error)
            return
        except Exception:
            log.exception("instance %r cannot be run in its process", seated.id)
            seated.evict()
            self._owner.defective(shard, seated, seated.untaken())
            return
        finally:
            seated.under_way = False
        if self._is_here(shard, seated):
            self._failures.pop(seated.id, None)
            # An instance that has ended needs no process; what is left over is the next run's, or is answered without.
            ended = turn.transition is not None and turn.transition.closes and turn.following is None
            turn.drop = turn.drop or ended
            self._owner.made(shard, seated, turn, read_upto)
        else:
            refuse_reports((*turn.inputs, *seated.untaken()))

    def committed(self, shard: Shard, seated: Seated) -> bool:
        """A turn of it is durable. Returns whether it needs another one now."""
        if seated.inputs or seated.more:
            return True
        if seated.alarm is not None:
            seated.alarm.cancel()
        seated.alarm = asyncio.get_running_loop().call_later(self._idle_s, self._end_rest, shard, seated)
        return False

    def _unseat(self, shard: Shard, seated: Seated, error: BaseException) -> None:
        """Its process is gone, or hangs: begin anew with what no turn has taken."""
        seated.evict()
        inputs = [*seated.untaken(), *self._after_failure(seated.id, error)]
        if not self._is_here(shard, seated):
            refuse_reports(inputs)
            return
        del shard.residents[seated.id]
        shard.dirty.pop(seated.id, None)
        shard.waiting.setdefault(seated.id, [])[:0] = inputs or [Due()]
        self._owner.reload(shard, seated.id)

    def _after_failure(self, id: str, error: BaseException) -> list[Input]:
        why = "it did not answer" if isinstance(error, TimeoutError) else str(error)
        log.warning("the process of instance %r is lost: %s", id, why)
        self._failures[id] += 1
        if self._failures[id] < _TRIES:
            return []
        del self._failures[id]
        return [Stranded(f"{_TRIES} processes of its own were lost over one turn, the last one: {why}")]

    def _is_here(self, shard: Shard, seated: Seated) -> bool:
        return self._shards.get(shard.number) is shard and shard.residents.get(seated.id) is seated

    # --- away from it

    def _end_rest(self, shard: Shard, seated: Seated) -> None:
        if self._is_here(shard, seated) and seated.idle and seated.id not in shard.dirty:
            del shard.residents[seated.id]
            seated.evict()

    def _end_one_at_rest(self) -> bool:
        """Make room: the instance that has slept longest, of those that only sleep, sleeps without a process."""
        resting = [
            (seated.alarm.when(), shard, seated)
            for shard in self._shards.values()
            for seated in shard.residents.values()
            if isinstance(seated, Seated) and seated.idle and seated.alarm is not None and seated.id not in shard.dirty
        ]
        if not resting:
            return False
        _, shard, seated = min(resting, key=_since)
        self._end_rest(shard, seated)
        return True

    def close(self) -> None:
        """Its host ends: so do its processes."""
        for opening in self._opening.values():
            opening.cancel()
        for seat in self._ready.values():
            self._end(seat)
        self._ready.clear()
        self._asked.clear()

    def forget(self, number: int) -> None:
        """A shard is another host's: its queries are still in the mailbox."""
        for id in [id for id in self._asked if shard_of(id) == number]:
            del self._asked[id]
        for id in [id for id in (*self._opening, *self._ready) if shard_of(id) == number]:
            self._give_up(id)

    def _left(self, _seated: Seated) -> None:
        self._free()

    def _end(self, seat: Seat) -> None:
        seat.close()
        self._free()

    def _free(self) -> None:
        self._taken -= 1
        self._freed.set()


def _since(resting: tuple[float, Shard, Seated]) -> float:
    return resting[0]
