"""Many random sagas on one to three hosts, on a store that fails, with hosts that die: all must end as they should.

Law: a seed decides everything; time is the loop's own (``time_skipping``). ``Broken`` says which promise was not kept.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sagas.client import Client
from sagas.engine.attempt import AttemptRunner
from sagas.engine.envelope import Envelope
from sagas.engine.executor import InProcessExecutor
from sagas.engine.host import Host, HostSettings
from sagas.errors import SagaAlreadyStarted, SagaCancelled, SagaClosed, SagaFailed, StoreUnavailable
from sagas.kernel.chain import goes_on_in
from sagas.kernel.events import (
    CompensationCompleted,
    CompensationEnded,
    CompensationScheduled,
    CompensationStarted,
    Event,
    RunTerminated,
    SignalReceived,
    StepCompleted,
    decode_chunk,
)
from sagas.kernel.instance import Instance
from sagas.kernel.registry import Registry
from sagas.kernel.saga import saga_type_of
from sagas.store.head import decode_head
from sagas.store.keys import shard_of
from sagas.store.memory_shard import MemoryShard
from sagas.store.port import Status
from tests.simulation.faulty_store import Faults, FaultyStore
from tests.simulation.ledger import Ledger
from tests.simulation.oracle import expected
from tests.simulation.programs import Play, Program, act, do, ledger, random_program, refuse, root_of, signals_in
from tests.simulation.time_skipping import LoopClock, run

END_S = 900.0
"""Loop time after the last fault by which every run must have ended: many times what the slowest program needs."""


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass(slots=True)
class Case:
    """One saga of a simulation, and what its client was told."""

    id: str
    program: Program
    cancels: bool
    acknowledged: list[str]


class Simulation:
    """One seed, played once; ``faults`` None draws them from the seed."""

    def __init__(self, seed: int, faults: Faults | None = None, sagas: int = 10, chaos: bool = True) -> None:
        self.dice = random.Random(seed)
        self.seed = seed
        self.chaos = chaos
        self.faults = faults if faults is not None else _faults(self.dice)
        shards = self.dice.choice([1, 4, 64])  # crowded together, or each by itself
        ids = (id for id in map("saga-{}".format, itertools.count()) if shard_of(id) < shards)
        self.cases = [Case(next(ids), random_program(self.dice), self.dice.random() < 0.2, []) for _ in range(sagas)]
        self.deaths: Counter[str] = Counter()

    def play(self) -> None:
        """Raises: Broken."""
        random.seed(self.seed)  # the engine's jitter
        run(self._play())

    async def _play(self) -> None:
        self.clock = LoopClock()
        self.store = FaultyStore(self.clock.now_ms, self.seed, self.faults)
        self.ledger = Ledger()
        ledger.set(self.ledger)
        self.client = Client(self.store)
        self.fleet = Fleet(self)
        await self.fleet.grow()
        traffic = [asyncio.ensure_future(self._traffic(case)) for case in self.cases]
        trouble = asyncio.ensure_future(self._trouble())
        await asyncio.gather(*traffic)
        self.chaos = False
        await trouble
        await self._come_to_rest()
        if self.fleet.violations:
            raise Broken(f"seed {self.seed}: the sweeper had to wake {self.fleet.violations} instances")
        await self.fleet.stop_all()
        for case in self.cases:
            await self._check(case)
        for id in self._ids():
            for run_id, history in self._runs(id).items():
                self._check_undos(id, run_id, history)
        self._check_leftovers()

    # --- what clients do

    async def _traffic(self, case: Case) -> None:
        await asyncio.sleep(self.dice.uniform(0, 20))
        started = lambda: self.client.start(Play, case.program, id=case.id, on_reuse="reject")  # noqa: E731
        await _insist(started, SagaAlreadyStarted)
        actions = [*(["tell"] * (signals_in(case.program) + self.dice.randint(0, 3)))]
        if case.cancels:
            actions.insert(self.dice.randint(0, len(actions)), "cancel")
        for number, action in enumerate(actions):
            await asyncio.sleep(self.dice.choice([0.0, 0.01, 1.0, 15.0]))
            handle = self.client.get(case.id)
            if action == "cancel":
                await _insist(lambda handle=handle: handle.cancel("simulated"), SagaClosed)  # type: ignore[misc]
            else:
                message_id = f"{case.id}/{number}"
                send = lambda h=handle, m=message_id: h.signal(Play.tell, message_id=m)  # type: ignore[misc]  # noqa: E731
                if await _insist(send, SagaClosed):
                    case.acknowledged.append(message_id)

    async def _trouble(self) -> None:
        while self.chaos:
            await asyncio.sleep(self.dice.choice([0.05, 0.5, 2.0, 6.0]))
            kind = self.dice.choice(["kill", "stop", "grow", "grow", "steal", "blackout"])
            self.deaths[kind] += 1
            match kind:
                case "kill":
                    await self.fleet.kill_one()
                case "stop":
                    await self.fleet.stop_one()
                case "grow":
                    await self.fleet.grow()
                case "steal":
                    await self.store.steal(self.dice.randrange(64))
                case "blackout":
                    await self.fleet.kill_all()
                    self._check_invariant()

    # --- the end

    async def _come_to_rest(self) -> None:
        self.store.calm()
        await self.store.settle()
        await self.fleet.grow()
        deadline = asyncio.get_running_loop().time() + END_S
        while open_ids := [id for id in self._ids() if self._status(id) is Status.RUNNING]:
            if asyncio.get_running_loop().time() > deadline:
                raise Broken(f"seed {self.seed}: {open_ids} never end: {[self._stand(id) for id in open_ids]}")
            await asyncio.sleep(1)

    def _ids(self) -> list[str]:
        """Of all there are, and of those that are on their way: the cases, and their children."""
        known = {id for shard in self.store._shards for id in (*shard.heads, *shard.admitted)}
        sent = {Envelope.decode(each.body).target for shard in self.store._shards for each in shard.outbox.values()}
        return sorted({case.id for case in self.cases} | known | sent)

    def _shard(self, id: str) -> MemoryShard:
        return self.store._shard(id)

    def _status(self, id: str) -> Status:
        head = self._shard(id).heads.get(id)
        return Status.RUNNING if head is None else decode_head(head).status

    def _stand(self, id: str) -> object:
        shard = self._shard(id)
        head = shard.heads.get(id)
        return None if head is None else (decode_head(head), self.history(id)[-6:], id in shard.busy)

    def history(self, id: str) -> list[Event]:
        """The stored histories of the one chain of runs of ``id``, one after the other."""
        return [event for each in self._runs(id).values() for event in each]

    def _runs(self, id: str) -> dict[str, list[Event]]:
        """By run, in their order."""
        last = decode_head(self._shard(id).heads[id]).run_id
        stored = {run: chunks for (of, run), chunks in self._shard(id).histories.items() if of == id}
        runs = sorted(stored, key=lambda run: (len(run), run))
        self._hold(f"{id}: runs of one chain", [goes_on_in(run, last) for run in runs], [True] * len(runs))
        return {run: [event for chunk in stored[run] for event in decode_chunk(chunk)] for run in runs}

    async def _check(self, case: Case) -> None:
        history = self.history(case.id)
        for each in self._runs(case.id).values():
            Instance.replay(saga_type_of(Play), each).evict()
        ended = await self._ended(case)
        must = expected(case.program)
        if ended != "cancelled":
            refused = f"Rejected: {must.refused}"
            self._expect(case, "end", ended, refused if must.trail is None else must.trail)
            self._expect(case, "effects", self.ledger.effects(case.id), must.effects)
            self._expect(case, "standing", self.ledger.standing(case.id), must.standing)
        elif not case.cancels:
            raise Broken(f"seed {self.seed}, {case.id}: cancelled by nobody")
        self._check_signals(case, history)

    async def _ended(self, case: Case) -> object:
        try:
            return sorted(await self.client.get(case.id).result())
        except SagaFailed as failed:
            return f"{failed.cause_type}: {failed.message}"
        except SagaCancelled:
            return "cancelled"

    def _expect(self, case: Case, what: str, found: object, wanted: object) -> None:
        self._hold(f"{case.id}: {what}", found, wanted, case.program)

    def _hold(self, what: str, found: object, wanted: object, program: object = "") -> None:
        if found != wanted:
            raise Broken(f"seed {self.seed}, {what} is {found}, must be {wanted}; {program}")

    def _check_signals(self, case: Case, history: list[Event]) -> None:
        recorded = Counter(event.message_id for event in history if isinstance(event, SignalReceived))
        for message_id in case.acknowledged:
            self._expect(case, f"times signal {message_id} is recorded", recorded[message_id], 1)

    def _check_undos(self, id: str, run_id: str, history: list[Event]) -> None:
        """Each undo once, complete before its scope's end; of a done step, after its effect; newest first."""
        if isinstance(history[-1], RunTerminated):
            return
        done = {event.step for event in history if isinstance(event, StepCompleted)}
        scheduled = [event for event in history if isinstance(event, CompensationScheduled)]
        ended = {event.step for event in history if isinstance(event, CompensationCompleted)}
        self._hold(f"{id}: undos completed", ended, {event.step for event in scheduled})
        self._hold(f"{id}: undos of one action", len({event.undo_of for event in scheduled}), len(scheduled))
        for event in scheduled:
            key = f"{run_id}/{event.undo_of}"
            self._hold(f"{id}: undo of {key}", self.ledger.undone.get(key), root_of(id))
            if event.undo_of in done:
                self._hold(f"{id}: effect before the undo of {key}", key in self.ledger.done, True)
        for scope, events in itertools.groupby(sorted(scheduled, key=lambda event: event.scope), lambda e: e.scope):
            order = [event.undo_of for event in events]
            self._hold(f"{id}: order of undos in scope {scope}", order, sorted(order, reverse=True))
        opened = Counter(event.scope for event in history if isinstance(event, CompensationStarted))
        closed = Counter(event.scope for event in history if isinstance(event, CompensationEnded))
        self._hold(f"{id}: scopes that ended undoing", closed, opened)

    def _check_leftovers(self) -> None:
        for number, shard in enumerate(self.store._shards):
            left = (len(shard.mailbox), len(shard.timers), len(shard.busy), len(shard.steps), len(shard.admitted))
            if any((*left, len(shard.outbox))):
                raise Broken(f"seed {self.seed}: shard {number} keeps (mail, timers, busy, steps, admitted) {left}")

    def _check_invariant(self) -> None:
        """Without any host: everything that is open can be found by the next one, or waits for a message."""
        for shard in self.store._shards:
            mail = {mail.id for mail in shard.mailbox.after("0", 10**6)}
            due = {id for id, _ in shard.timers.upto(2**53, 10**6)[0]}
            due |= {Envelope.decode(each.body).sender for each in shard.outbox.values()}
            for id, stored in shard.heads.items():
                head = decode_head(stored)
                waits = any(kind in {"message", "child"} for kind, _, _ in head.waiting)
                reachable = id in mail or id in due or id in shard.busy or waits or bool(head.parked)
                if head.status is Status.RUNNING and not reachable:
                    raise Broken(f"seed {self.seed}: nothing will ever wake {id}: {head}")


class Fleet:
    """The hosts of a simulation; at most three."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._dice = simulation.dice
        self._hosts: list[tuple[Host, InProcessExecutor]] = []
        self._names = itertools.count(1)
        self._residents = self._dice.choice([0, 1, 1000])
        self._timer_limit = self._dice.choice([1, 2, 500])

    async def grow(self) -> None:
        """One host more, if there is room; a store that is down leaves it out."""
        self._hosts = [(host, executor) for host, executor in self._hosts if not host.stopped]
        if len(self._hosts) >= 3:
            return
        registry = Registry()
        for definition in (Play, act, do, refuse):
            registry.add(definition)
        clock = self._simulation.clock
        settings = HostSettings(
            owner=f"host-{next(self._names)}",
            lease_ms=1500,
            residents=self._residents,
            timer_limit=self._timer_limit,
            mail_block_ms=300,
        )
        host = Host(self._simulation.store, registry, clock, settings)
        executor = InProcessExecutor(AttemptRunner(registry, clock, 1), host.deliver, host.heard)
        try:
            await host.start(executor)
        except StoreUnavailable:
            host.kill()
            await executor.close()
        else:
            self._hosts.append((host, executor))

    async def kill_one(self) -> None:
        """As a crash: its steps in flight are gone."""
        if self._hosts:
            host, executor = self._hosts.pop(self._dice.randrange(len(self._hosts)))
            host.kill()
            await executor.close()

    async def kill_all(self) -> None:
        while self._hosts:
            await self.kill_one()

    async def stop_one(self) -> None:
        """As a deployment would: it may finish its steps first."""
        if self._hosts:
            host, executor = self._hosts.pop(self._dice.randrange(len(self._hosts)))
            await host.stop(self._dice.choice([0.1, 5.0]))
            await executor.close()

    async def stop_all(self) -> None:
        while self._hosts:
            await self.stop_one()

    @property
    def violations(self) -> int:
        """What the sweepers of the hosts that are up had to wake."""
        return sum(host.violations for host, _ in self._hosts)


async def _insist(call: Callable[[], Awaitable[object]], refusal: type[Exception]) -> bool:
    """Ask until there is an answer; False when it is ``refusal``."""
    while True:
        try:
            await call()
        except StoreUnavailable:
            await asyncio.sleep(0.5)
        except refusal:
            return False
        else:
            return True


def _faults(dice: random.Random) -> Faults:
    rate = dice.choice([0.0, 0.02, 0.1, 0.25])
    return Faults(
        before_write=rate * dice.random(),
        after_write=rate * dice.random(),
        delayed=rate * dice.random() / 2,
        theft=rate * dice.random() / 10,
        reads=rate * dice.random(),
    )
