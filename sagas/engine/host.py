"""A host: owns shards and brings mail, results and timers to their instances. asyncio only; Ray is a shell around it.

Law: an activation runs from a plain callback of the host's loop; every wait is for an event, a due time or the
store; what goes wrong in one instance never stops the host.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagas.engine import guard
from sagas.engine.apart import Apart
from sagas.engine.clock import Clock
from sagas.engine.conduct import Conduct
from sagas.engine.executor import Executor
from sagas.engine.exporting import Exporter, Exporting
from sagas.engine.flush import Flush, Written
from sagas.engine.hearing import Hearing
from sagas.engine.inheritance import decode_prefix
from sagas.engine.leases import Leases
from sagas.engine.loading import DEFECT, Loading
from sagas.engine.message import Reply, Reported, Start, decode_message
from sagas.engine.placement import Held, Placement, Seated
from sagas.engine.relay import Relay
from sagas.engine.renewal import OpenStore, RenewalThread
from sagas.engine.resident import Due, Effects, Input, MailInput, Relayed, Resident, Turn
from sagas.engine.retention import Retention
from sagas.engine.seating import Seating
from sagas.engine.shard import Shard, refuse_reports, settle_reports
from sagas.engine.slots import open_slots
from sagas.engine.steps import Heartbeat, StepKey, StepReport, StepTask, Unplaced, decode_report
from sagas.engine.sweeper import Sweeper
from sagas.engine.watchdog import Watchdog
from sagas.errors import HistoryError, StoreUnavailable
from sagas.kernel.breaking import BrokenOff
from sagas.kernel.registry import Registry
from sagas.kernel.saga import DEDICATED, SagaType
from sagas.store.keys import shard_of
from sagas.store.mailbox import place_of
from sagas.store.port import Claim, Loaded, Mail, Store

log = logging.getLogger("sagas.engine")

TURNS_AT_ONCE = 100
"""Turns between two looks at the rest of the loop: about 10 ms."""

OnCommitted = Callable[[Turn], None]
"""Told of every turn that was made durable, in order; must return at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """``residents``: instances kept in memory a shard. ``lease_ms`` None: no other host exists, nothing is renewed.

    ``activation_limit_s``: how long saga code may keep the loop until it is broken off; None: for ever. ``slots``: the
    folder by which hosts on this machine know what a dead one ran; None: nobody does.

    Of instances with a process of their own: that ends after ``seat_idle_s`` without a turn, and is ended when it does
    not answer within ``seat_turn_s``.
    """

    owner: str
    lease_ms: int | None = 4000
    residents: int = 1000
    timer_limit: int = 500
    mail_block_ms: int = 1000
    sweep_s: float = 30.0
    activation_limit_s: float | None = 2.0
    slots: Path | None = None
    seat_idle_s: float = 60.0
    seat_turn_s: float = 120.0


class Host:
    """See the module's law. ``start`` and ``stop`` once each."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        settings: HostSettings,
        on_committed: OnCommitted = lambda _turn: None,
        *,
        open_store: OpenStore | None = None,
        exporter: Exporter | None = None,
        placement: Placement | None = None,
    ) -> None:
        """``open_store``: how a thread connects that renews the leases; without it the host's own loop renews them.

        ``exporter``: where durable turns go, each at least once whatever dies. ``placement``: where dedicated instances
        get their processes; without it their code runs here, as all does.
        """
        guard.install()
        self.registry = registry
        self._store = store
        self._clock = clock
        self._settings = settings
        self._on_committed = on_committed
        self._executor: Executor | None = None
        self._shards: dict[int, Shard] = {}
        self._stopped = False
        self._draining = False
        self._turning = False
        self._ready: dict[int, Shard] = {}  # shards with dirty instances
        self._in_flight: dict[StepKey, int] = {}
        self._here: set[StepKey] = set()  # of those: in this process, and so for no other host to adopt
        self._tasks: list[asyncio.Task[None]] = []
        self._errands: set[asyncio.Task[None]] = set()
        self._timer_wanted = asyncio.Event()
        self._mail_wanted = asyncio.Event()
        self._quiet = asyncio.Event()
        self._seating = None if placement is None else self._seating_on(placement)
        self._loading = Loading(store, clock, self, self._shards, self._in_flight, self._resident)
        self._exporter = exporter
        self._exporting = None if exporter is None else Exporting(exporter, store, self._shards, self._want_flush)
        self._hearing = Hearing(clock, self._keep_heartbeats)
        self._relay = Relay(store, self._shards, self.feed, self.run_errand, self._check_quiet)
        self._flush = Flush(store, self, self._is_stopping)
        limit_s = settings.activation_limit_s
        self._watchdog = None if limit_s is None else Watchdog(limit_s)
        self._slots = None if settings.slots is None else open_slots(settings.slots)
        self._conduct = Conduct(self._slots)
        self._flush.on_rest = self._check_quiet
        ttl_ms = settings.lease_ms or 2**40
        holder = _Holder(self)
        self._leases = Leases(store, holder, settings.owner, ttl_ms, self._is_stopping, renews=open_store is None)
        self._renewal: RenewalThread | None = None
        if open_store is not None:
            self._renewal = RenewalThread(open_store, settings.owner, ttl_ms, self.claims, holder.not_renewed)
        self._retention = Retention(store, clock, self._shards, self._resident, self._flush.want)
        self._sweeper = Sweeper(store, clock, self._shards.__contains__, self._wake, settings.sweep_s)

    def _seating_on(self, placement: Placement) -> Seating:
        idle_s, turn_s = self._settings.seat_idle_s, self._settings.seat_turn_s
        return Seating(placement, self._clock, self._shards, self, idle_s=idle_s, turn_s=turn_s)

    # --- life

    async def start(self, executor: Executor) -> None:
        """Claim shards and go to work.

        Raises: StoreUnavailable.
        """
        self._executor = executor
        if self._watchdog is not None:
            self._watchdog.start()
        await self._leases.balance()
        if self._exporting is not None:
            self._exporting.start()
        loops = [self._flush.run, self._mail_loop, self._timer_loop, self._load_loop, self._relay_loop]
        loops.append(self._retention_loop)
        if self._settings.lease_ms is not None:
            loops += [self._leases.run, self._sweeper.run]
        if self._exporting is not None:
            loops.append(self._export_loop)
        if self._renewal is not None:
            self._renewal.start()
            loops.append(self._renewal.beat)
        self._tasks = [asyncio.get_running_loop().create_task(self._supervised(each)) for each in loops]

    async def stop(self, grace_s: float = 10.0) -> None:
        """Run no more saga code, wait up to ``grace_s`` for the steps in flight and record them, hand the shards back.

        Steps that still run then are left to the executor's close; the next owner makes another attempt.
        """
        self._draining = True
        try:
            await self._hand_back(grace_s)
        finally:
            self.kill()  # also when the caller lost patience: a host that only drains would hold its shards for ever
        await asyncio.gather(*self._tasks, *self._errands, return_exceptions=True)
        if self._renewal is not None:
            await self._renewal.ended()
        if self._exporting is not None:
            await self._exporting.stop()

    async def _hand_back(self, grace_s: float) -> None:
        try:
            async with asyncio.timeout(grace_s):
                await self._until_quiet()
        except TimeoutError:
            log.warning("%d steps still run after %g s; they will be tried again", len(self._in_flight), grace_s)
        if self._renewal is not None:
            self._renewal.stop()  # or it would report this host alive once more, after it has left
        self._stopped = True  # before the last write: a store that is down is not waited for any longer
        try:
            await self._flush.once()
            await self._leases.leave()
        except StoreUnavailable as error:
            log.warning("could not hand the shards back (%s): other hosts wait for the leases to run out", error)

    def kill(self) -> None:
        """End as a crash would: nothing more is written or released."""
        self._stopped = True
        if self._renewal is not None:
            self._renewal.stop()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._slots is not None:
            self._slots.close()
        for task in (*self._tasks, *self._errands):
            task.cancel()
        for shard in self._shards.values():
            shard.forget()
        self._shards.clear()
        if self._seating is not None:
            self._seating.close()
        self._quiet.set()  # nobody waits for a host that has ended

    def _is_stopping(self) -> bool:
        return self._stopped

    async def _supervised(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a loop of host %s ended; the host stops, others take its shards over", self._settings.owner)
            self.kill()

    @property
    def shards(self) -> list[int]:
        """The shards it owns now."""
        return sorted(self._shards)

    @property
    def steps_in_flight(self) -> int:
        """Attempts handed to the executor that have not reported."""
        return len(self._in_flight)

    @property
    def stopped(self) -> bool:
        """Whether it has ended (by itself or by ``stop``)."""
        return self._stopped

    async def rebalance(self) -> None:
        """Look now, and not at the next round, whether shards are free. Raises: StoreUnavailable."""
        if not self._stopped:
            await self._leases.balance()

    def leaving(self) -> bool:
        """Whether it drains, and wants no more shards."""
        return self._draining

    def claims(self) -> list[Claim]:
        """Of the shards it owns."""
        return [shard.claim for shard in list(self._shards.values())]  # a copy: it is also asked for on another thread

    # --- shards come and go

    async def take(self, claim: Claim) -> None:
        """A shard is ours: look at its mail, its timers and what was in flight; sleepers stay asleep."""
        busy = await self._store.busy(claim.shard)  # first: a shard is taken with all of it, or at the next round
        shard = Shard(claim=claim, sequence=claim.sequence)
        if self._slots is not None:
            self._slots.look()  # whoever had it may have died of one of its instances
        if self._exporting is not None:
            await self._exporting.claimed(shard)
        self._shards[claim.shard] = shard
        shard.next_due_ms = self._clock.now_ms()
        for id in busy:
            self._want_load(shard, id)
        self._relay.want(shard)
        self._timer_wanted.set()
        self._mail_wanted.set()

    def lose(self, shard: Shard, why: str) -> None:
        """Drop a shard with everything that was not acknowledged."""
        if self._shards.get(shard.number) is shard:
            log.warning("host %s lost shard %d: %s", self._settings.owner, shard.number, why)
            del self._shards[shard.number]
            self._forget(shard)

    def doubt(self, *shards: Shard) -> None:
        """The store does not know our lease, or was away: the next flush finds out whether they are ours, and whole.

        Only a commit can tell: a store that went back to before our claim gives the shard back.
        """
        self._flush.doubt(shards or self._shards.values())

    async def give_up(self, shards: set[int]) -> list[Claim]:
        """Commit what is open of these shards and drop them; those with steps in this process stay for now."""
        await self._flush.once()
        shards = shards - {shard_of(key.id) for key in self._here}
        given = [self._shards.pop(number) for number in shards if number in self._shards]
        for shard in given:
            self._forget(shard)
        return [shard.claim for shard in given]

    def _forget(self, shard: Shard) -> None:
        """Its steps in flight are the next owner's too: it asks for them, also if that is this host again."""
        shard.forget()
        if self._seating is not None:
            self._seating.forget(shard.number)
        self._relay.forget(shard)
        for key in [key for key in self._in_flight if shard_of(key.id) == shard.number]:
            del self._in_flight[key]
            self._here.discard(key)
        self._check_quiet()

    def _owned(self, id: str) -> Shard | None:
        return self._shards.get(shard_of(id))

    # --- inputs

    async def _mail_loop(self) -> None:
        while not self._stopped and not self._draining:
            if not self._shards:
                await self._mail_wanted.wait()
            self._mail_wanted.clear()
            try:
                await self.read_mail(self._settings.mail_block_ms)
            except StoreUnavailable as error:
                log.warning("the mailbox cannot be read: %s", error)
                self.doubt()
                await asyncio.sleep(0.2)

    async def read_mail(self, block_ms: int) -> int:
        """Read what is in the mailboxes past what was read; returns how many messages were new."""
        asked = dict(self._shards)
        after = {number: shard.read_upto for number, shard in asked.items()}
        return self._receive(asked, await self._store.read_mail(after, block_ms)) if after else 0

    def _receive(self, asked: dict[int, Shard], mails: Sequence[Mail]) -> int:
        new = 0
        for mail in mails:
            shard = asked[mail.shard]
            # Lost in the meantime, and maybe taken again: then it is read anew, from its first entry on.
            if self._shards.get(mail.shard) is not shard:
                continue
            # Two readers may have asked at once; an entry is taken once.
            if place_of(mail.entry) <= place_of(shard.read_upto):
                continue
            shard.read_upto = mail.entry
            new += 1
            try:
                each = _mail_input(mail)
                if each.report is not None:
                    self._ended(each.report)
                self.feed(shard, mail.id, each)
            except HistoryError as error:
                log.warning("mail %s for %r stays in the mailbox: %s", mail.entry, mail.id, error)
        return new

    def deliver(self, reports: Sequence[StepReport]) -> None:
        """Take what became of steps. Reports of shards that are another's are refused: it asks, or reads its mail."""
        for report in reports:
            self._ended(report)
            shard = self._owned(report.id)
            if shard is not None:
                self.feed(shard, report.id, report)
            else:
                refuse_reports((report,))
        self._check_quiet()

    def heard(self, heartbeat: Heartbeat) -> None:
        """Keep how far an attempt has come; of one that this host does not wait for, its owner is told."""
        if self._in_flight.get(heartbeat.key) == heartbeat.attempt:
            self._hearing.hear(heartbeat)

    def _keep_heartbeats(self, heartbeats: Iterable[Heartbeat]) -> None:
        for each in heartbeats:
            shard = self._owned(each.id)
            if shard is not None and self._in_flight.get(each.key) == each.attempt:
                self.feed(shard, each.id, each)

    def epoch(self, id: str) -> int | None:
        """By which epoch it owns the instance's shard; None when it does not."""
        shard = self._owned(id)
        return None if shard is None else shard.claim.token.counter

    def awaits(self, task: StepTask) -> bool:
        """Whether this very attempt is in flight and has not been reported on."""
        return self._in_flight.get(task.key) == task.attempt

    async def lost(self, reports: Sequence[StepReport]) -> None:
        """As ``deliver``, of attempts that nobody makes (any more), unless the mailbox knows better."""
        await self._loading.read_all_mail(self._is_stopping)
        self.deliver([report for report in reports if self._in_flight.get(report.key) == report.attempt])

    def unplaced(self, tasks: Iterable[StepTask], why: str) -> None:
        """Nobody makes these attempts yet, because ``why``; "": somebody does now."""
        for task in tasks:
            shard = self._owned(task.id)
            if shard is not None and self.awaits(task):
                self.feed(shard, task.id, Unplaced(task.key, task.attempt, why))

    def _ended(self, report: StepReport) -> None:
        key = report.key
        self._hearing.ending(key)
        if self._in_flight.get(key, report.attempt + 1) <= report.attempt:
            del self._in_flight[key]
            self._here.discard(key)

    def feed(self, shard: Shard, id: str, each: Input) -> None:
        """Let the instance have this, as soon as it is in memory."""
        resident = shard.residents.get(id)
        if resident is not None and resident.dropped and resident.unreadable:
            self._refuse(shard, (each,))  # a defect: its mail waits in the mailbox for a host without it
            return
        if resident is None or resident.dropped:
            shard.waiting.setdefault(id, []).append(each)
            if resident is None:
                self._want_load(shard, id)
            return
        resident.inputs.append(each)
        self._make_dirty(shard, id)

    def _wake(self, id: str) -> None:
        """The sweeper found it standing still: look at its timers and its steps again."""
        shard = self._owned(id)
        if shard is not None:
            self.feed(shard, id, Due())

    @property
    def violations(self) -> int:
        """Instances the sweeper found that nothing would have woken; 0 unless there is a defect."""
        return self._sweeper.violations

    # --- loading

    def _want_load(self, shard: Shard, id: str) -> None:
        self._quiet.clear()
        self._loading.want(shard, id)

    async def _load_loop(self) -> None:
        assert self._executor is not None, "set by start"
        await self._loading.run(self._executor, self._is_stopping, self.run_errand)

    async def _export_loop(self) -> None:
        assert self._exporting is not None, "else there is no such loop"
        await self._exporting.run(self._is_stopping)

    def _want_flush(self) -> None:
        self._flush.want()

    async def _retention_loop(self) -> None:
        await self._retention.run(self._is_stopping)

    async def _relay_loop(self) -> None:
        await self._relay.run(self._is_stopping)

    def _resident(self, id: str) -> Resident:
        apart = None if self._seating is None else Apart(is_dedicated)
        if self._exporter is None:
            return Resident(id, self.registry, conduct=self._conduct, apart=apart)
        exporter = self._exporter
        return Resident(
            id,
            self.registry,
            traceparent=exporter.traceparent,
            message_traceparent=exporter.message_traceparent,
            conduct=self._conduct,
            apart=apart,
        )

    def loaded(self, shard: Shard, resident: Resident, loaded: Loaded) -> None:
        """What it was read from may have to go to a process of its own first."""
        if self._seating is None or not self._seating.take(shard, resident, loaded):
            self.put(shard, resident)

    def put(self, shard: Shard, held: Held) -> None:
        """It is in memory, with what waited for it."""
        # What waited comes before what the load takes for lost: a report that has just come settles its attempt.
        held.inputs[:0] = shard.waiting.pop(held.id)
        shard.residents[held.id] = held
        self._make_dirty(shard, held.id)

    def reload(self, shard: Shard, id: str) -> None:
        """It was dropped from memory, and something waits for it."""
        self._want_load(shard, id)

    # --- turns

    def _make_dirty(self, shard: Shard, id: str) -> None:
        shard.dirty[id] = None
        self._ready[shard.number] = shard
        self._quiet.clear()
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Give instances with inputs their turn. A plain callback: no task is current while saga code runs.

        A slice at a time: what is ready is on its way to the store while the next slice runs, and the loop sees to
        everything else in between.
        """
        now_ms, left = self._clock.now_ms(), TURNS_AT_ONCE
        while left and self._ready:
            number, shard = next(iter(self._ready.items()))
            del self._ready[number]
            if self._shards.get(number) is not shard:
                continue
            for id in list(shard.dirty)[:left]:
                left -= 1
                del shard.dirty[id]
                resident = shard.residents.get(id)
                if resident is not None and not resident.dropped:
                    self._turn_one(shard, resident, now_ms)
            if shard.dirty:
                self._ready[number] = shard  # behind the others
        self._turning = bool(self._ready)
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)
        self._flush.want()
        self._check_quiet()

    def _turn_one(self, shard: Shard, resident: Held, now_ms: int) -> None:
        shard.residents.move_to_end(resident.id)
        if isinstance(resident, Seated):
            assert self._seating is not None, "who else has seated it"
            self._seating.turn(shard, resident, run=not self._draining)
            return
        inputs = tuple(resident.inputs)
        try:
            turn = resident.turn(now_ms, run=not self._draining)
        except (Exception, BrokenOff):
            # A defect of ours, not of the saga: its mail stays in the mailbox, and nobody else waits for it.
            log.exception("instance %r cannot be run on this host", resident.id)
            self.defective(shard, resident, inputs)
            return
        self._made(shard, resident, turn, shard.read_upto)
        if resident.inputs and not turn.drop:
            self._make_dirty(shard, resident.id)
        if self._seating is not None and _is_apart(resident) and not self._draining:
            self._seating.recorded(shard, resident)

    def defective(self, shard: Shard, held: Held, inputs: Sequence[Input]) -> None:
        """Its mail stays in the mailbox for a host without the defect."""
        held.unreadable, held.dropped = DEFECT, True
        self._refuse(shard, inputs)

    def made(self, shard: Shard, held: Held, turn: Turn, read_upto: str) -> None:
        """A turn was made elsewhere."""
        self._made(shard, held, turn, read_upto)
        self._flush.want()

    def _made(self, shard: Shard, held: Held, turn: Turn, read_upto: str) -> None:
        self._refuse(shard, turn.refused)
        turn.read_upto = read_upto
        held.dropped = turn.drop
        for each in filter(None, (turn, turn.following)):
            held.in_commit += 1
            shard.turns.append((held, each))

    def _refuse(self, shard: Shard, inputs: Sequence[Input]) -> None:
        """Nothing can be made of these here: nobody may wait for that."""
        refuse_reports(inputs)
        if answered := tuple(each.entry for each in inputs if isinstance(each, Relayed)):
            self._relay.committed(shard, answered)

    # --- the flush's owner

    def shards_to_flush(self) -> list[Shard]:
        """Those with turns to write or to answer, or with marks to remove."""
        return [shard for shard in self._shards.values() if shard.turns or (shard.export and shard.export.removable)]

    def release(self, shard: Shard, written: Written) -> None:
        """The turns are durable: do what they wanted done."""
        settle_reports(each for _, turn in written for each in turn.inputs)
        if self._exporting is not None:
            self._exporting.committed(shard, [turn for _, turn in written])
        if self._shards.get(shard.number) is not shard:
            return
        effects = Effects()
        for resident, turn in written:
            resident.in_commit -= 1
            effects.dispatch += turn.effects.dispatch
            effects.cancel += turn.effects.cancel
            effects.replies += turn.effects.replies
            if turn.sent:
                self._relay.committed(shard, turn.sent)
            if turn.transition is not None:
                if turn.transition.outbox:
                    self._relay.want(shard)
                shard.due_in_hand.discard(resident.id)  # else its entry stays as it is: not to be taken again and again
                shard.due_by(turn.transition.timer_ms)
                shard.expires_by(turn.transition.expires_ms)
                self._on_committed(turn)
            self._go_on(shard, resident, turn)
        if shard.more_due:
            shard.due_by(self._clock.now_ms())
        self._timer_wanted.set()
        self._do(effects)
        shard.passivate(self._settings.residents)

    def _go_on(self, shard: Shard, resident: Held, turn: Turn) -> None:
        if turn.drop:
            self._drop(shard, resident)
            return
        wanted = turn.begins
        if isinstance(resident, Seated):
            assert self._seating is not None, "who else has seated it"
            wanted |= self._seating.committed(shard, resident)
        if wanted and shard.residents.get(resident.id) is resident:
            self._make_dirty(shard, resident.id)

    def _do(self, effects: Effects) -> None:
        assert self._executor is not None, "nothing is released before start"
        self._in_flight.update((task.key, task.attempt) for task in effects.dispatch)
        self._here.update(task.key for task in effects.dispatch if self._executor.in_process(task))
        if effects.dispatch:
            self._executor.dispatch(effects.dispatch)
        if effects.cancel:
            self._executor.cancel(effects.cancel)
        for channel, reply in effects.replies:
            self.run_errand(self._reply(channel, reply))

    def written_again(self, shard: Shard) -> None:
        """The store had lost messages and timers of it: whoever looked meanwhile must look again."""
        self._relay.want(shard)
        shard.due_by(self._clock.now_ms())
        shard.expires_by(0)
        self._timer_wanted.set()

    async def redo(self, shard: Shard, written: Written, ids: frozenset[str]) -> None:
        """A run wanted to end while newer mail for it waits: load it again, with that mail; the rest is sent again."""
        if shard.export is not None:
            shard.export.refused()
        again: Written = []
        for resident, turn in written:
            if resident.id in ids:
                self._undo_turn(shard, resident, turn.inputs)
            else:
                again.append((resident, turn))
        later = [(resident, turn) for resident, turn in shard.turns if resident.id in ids]
        for resident, turn in later:
            self._undo_turn(shard, resident, turn.inputs)
        shard.turns = [*again, *((resident, turn) for resident, turn in shard.turns if resident.id not in ids)]
        for id in ids:
            dropped = shard.residents.pop(id, None)
            if dropped is not None:
                shard.waiting.setdefault(id, []).extend(_untaken(dropped))
                dropped.evict()
            shard.dirty.pop(id, None)
        try:
            await self.read_mail(0)
        except StoreUnavailable as error:
            log.warning("newer mail cannot be read: %s", error)  # the end is refused again until it can
        for id in ids:
            self._want_load(shard, id)
        self._flush.want()

    def _undo_turn(self, shard: Shard, resident: Held, inputs: Iterable[Input]) -> None:
        resident.dropped = True
        shard.waiting.setdefault(resident.id, []).extend(inputs)

    def _drop(self, shard: Shard, resident: Held) -> None:
        """It parked, or recorded facts its coroutines have not seen: the next input loads it anew."""
        if shard.residents.get(resident.id) is resident:
            del shard.residents[resident.id]
            resident.evict()
            if inputs := _untaken(resident):
                shard.waiting.setdefault(resident.id, [])[:0] = inputs
            if resident.id in shard.waiting:
                self._want_load(shard, resident.id)

    # --- timers

    async def _timer_loop(self) -> None:
        while not self._stopped and not self._draining:
            self._timer_wanted.clear()
            await self._clock.wait(self._timer_wanted, self.next_due_ms())
            try:
                await self.fire_due()
            except StoreUnavailable as error:
                log.warning("the timers cannot be read: %s", error)
                await asyncio.sleep(0.2)

    def next_due_ms(self) -> int | None:
        """When the timer sets must be looked at next."""
        due = [shard.next_due_ms for shard in self._shards.values() if shard.next_due_ms is not None]
        return min(due, default=None)

    async def fire_due(self) -> None:
        """Give every instance whose timer is due its turn, up to a limit a shard: the rest follows after the commit."""
        now_ms = self._clock.now_ms()
        for shard in list(self._shards.values()):
            if shard.next_due_ms is None or shard.next_due_ms > now_ms:
                continue
            shard.next_due_ms = None
            limit = self._settings.timer_limit + len(shard.due_in_hand)
            try:
                due, following = await self._store.timers(shard.number, now_ms, limit)
            except StoreUnavailable:
                shard.due_by(now_ms)
                raise
            shard.more_due = len(due) == limit
            if not shard.more_due:
                shard.due_by(following)
            for id, _ in due:
                if id not in shard.due_in_hand:
                    shard.due_in_hand.add(id)
                    self.feed(shard, id, Due())
        self._check_quiet()

    # --- errands and rest

    async def _reply(self, channel: str, reply: Reply) -> None:
        await self._store.publish(channel, reply.encode())

    def run_errand(self, work: Coroutine[Any, Any, None]) -> None:
        """Best effort, in the background: whoever misses it asks again."""
        errand = asyncio.get_running_loop().create_task(work)
        self._errands.add(errand)
        errand.add_done_callback(self._errand_done)

    def _errand_done(self, errand: asyncio.Task[None]) -> None:
        self._errands.discard(errand)
        if not errand.cancelled() and (error := errand.exception()) is not None:
            if not isinstance(error, StoreUnavailable):
                log.error("an errand of host %s failed", self._settings.owner, exc_info=error)
            else:
                log.warning("a reply was not sent: %s", error)
        self._check_quiet()

    def _still(self) -> bool:
        """Whether the host itself has nothing to do; steps may be in flight."""
        busy = self._turning or self._loading.busy or self._relay.busy or self._errands
        return not busy and not self._flush.in_flight and not any(s.turns or s.dirty for s in self._shards.values())

    def _check_quiet(self) -> None:
        if not self._in_flight and self._still():
            self._quiet.set()
        else:
            self._quiet.clear()

    async def _until_quiet(self) -> None:
        self._check_quiet()
        await self._quiet.wait()

    async def rest(self, step_grace_s: float | None = None) -> None:
        """Wait until nothing is left to do at this instant: no mail, no turn, no commit, no step in flight.

        ``step_grace_s``: return as well when steps have run so long and nothing else happened: they may wait for
        whoever waits here.
        """
        while not self._stopped:
            await self.read_mail(0)
            await self.fire_due()
            await self._retention.look(len(self._shards))
            self._check_quiet()
            if self._quiet.is_set() and not await self.read_mail(0):
                return
            open_steps = dict(self._in_flight)
            try:
                async with asyncio.timeout(step_grace_s):
                    await self._quiet.wait()
            except TimeoutError:
                if self._still() and self._in_flight == open_steps and not await self.read_mail(0):
                    return


def is_dedicated(saga_type: SagaType) -> bool:
    """Whether its instances have processes of their own."""
    return saga_type.placement == DEDICATED


def _is_apart(resident: Resident) -> bool:
    """Whether the code of its last run does not run here."""
    return resident.apart is not None and resident.apart.type is not None


def _untaken(held: Held) -> list[Input]:
    """What it was given and has not taken in."""
    if isinstance(held, Seated):
        return held.untaken()
    return [*held.inputs, Due()] if held.moves else held.inputs


def _mail_input(mail: Mail) -> MailInput:
    """Raises: HistoryError when the body is damaged, or of a newer version."""
    message = decode_message(mail.body)
    report = decode_report(message.report) if isinstance(message, Reported) else None
    prefix = decode_prefix(message) if isinstance(message, Start) else ()
    return MailInput(mail.entry, message, report, prefix)


class _Holder:
    """What the leases see of a host (they name shards by number)."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.claims = host.claims
        self.take = host.take
        self.give_up = host.give_up
        self.leaving = host.leaving

    def not_renewed(self, claim: Claim) -> None:
        owned = self._host._shards.get(claim.shard)
        if owned is not None and owned.claim == claim:  # else it was lost, or claimed anew, in the meantime
            self._host.doubt(owned)
