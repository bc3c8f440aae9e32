"""The engine's way to Ray's resources: each attempt that asks for some gets an actor of its own.

Law: an attempt has one actor, ever, named after it; nothing restarts it, so whether it runs again is the saga's
question. It outlives the host that made it: the shard's next owner finds it by name. Not a Ray task: nobody but
its owner could follow that one, and it would die with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import ray
from ray.util import list_named_actors

from actors.calls import AWAY, GONE, Background, Peer, original
from actors.names import ray_namespace, task_name
from actors.pings import SILENT_S, Pings
from actors.settings import ClusterSettings
from actors.task import TaskActor
from compensations import Outcome
from sagas.engine.attempt import withdrawn
from sagas.engine.steps import StepKey, StepReport, StepTask, encode_tasks, lost, queue_timed_out, timed_out
from sagas.kernel.failure import Failure
from sagas.kernel.resources import shown

log = logging.getLogger("sagas.actors")

AT_ONCE = 256
"""Actors that one host has at once, waiting for their resources or at work; further attempts wait for one to end."""

_SAID_AFTER_S = 5.0
"""An actor that has its resources is up by then; of one that is not, it is said what it waits for."""

_AGAIN_S = 0.2
_CPUS = 1
"""As much as Ray keeps for a task of its own; an activity that only waits may say ``num_cpus``."""


class Owner(Protocol):
    """What the executor asks its host."""

    def epoch(self, id: str) -> int | None:
        """By which epoch it owns the instance's shard; None when it does not (any more)."""
        ...

    async def lost(self, reports: Sequence[StepReport]) -> None:
        """Nobody makes these attempts (any more)."""
        ...

    def unplaced(self, tasks: Iterable[StepTask], why: str) -> None:
        """Nobody makes these attempts yet, because ``why``; "": somebody does now."""
        ...


@dataclass(slots=True, eq=False)
class _Alone:
    """An attempt that is open here. ``may_have_begun``: some host has told its actor to."""

    task: StepTask
    peer: Peer
    may_have_begun: bool
    given_up: asyncio.Event = field(default_factory=asyncio.Event)


class TaskExecutor:
    """Makes the actors of this host's attempts, and follows each to its end."""

    def __init__(self, host: str, settings: ClusterSettings, owner: Owner, ended: Callable[[str], None]) -> None:
        """``ended`` hears of every actor that is gone, by its name."""
        self._host = host
        self._settings = settings
        self._namespace = ray_namespace(settings.namespace)
        self._owner = owner
        self._on_ended = ended
        self._open: dict[StepKey, _Alone] = {}
        self._waiting: list[tuple[int, int, _Alone]] = []
        self._order = itertools.count()
        self._followed = 0
        self._background = Background()

    def dispatch(self, tasks: Sequence[StepTask]) -> None:
        for task in tasks:
            each = self._open[task.key] = self._alone(task)
            # What waits here dies with this process, and what must never run twice could not be made again.
            if self._followed < AT_ONCE or task.once:
                self._start(each)
            else:
                heapq.heappush(self._waiting, (-task.priority, next(self._order), each))
                self._owner.unplaced([task], f"waits until fewer than {AT_ONCE} such steps run for its host")

    def in_process(self, task: StepTask) -> bool:
        return False

    def settled(self, reports: Sequence[StepReport]) -> None:
        """These attempts are over."""
        for report in reports:
            each = self._open.get(report.key)
            if each is not None and each.task.attempt <= report.attempt:
                del self._open[report.key]

    def cancel(self, keys: Sequence[StepKey]) -> None:
        for key in keys:
            if (each := self._open.get(key)) is not None:
                each.given_up.set()
                if any(waiting is each for _, _, waiting in self._waiting):
                    self._waiting = [entry for entry in self._waiting if entry[2] is not each]
                    heapq.heapify(self._waiting)
                    self._background.start(self._owner.lost([withdrawn(each.task)]))

    async def adopt(self, tasks: Sequence[StepTask]) -> set[StepKey]:
        """Those whose actors there are: each tells this host."""
        names = await self._names()
        known = set()
        for task in tasks:
            mine = self._open.get(task.key)
            if mine is not None and mine.task.attempt == task.attempt:
                known.add(task.key)
            elif task_name(task.run_id, task.step, task.attempt) in names:
                known.add(task.key)
                each = self._open[task.key] = self._alone(task, may_have_begun=True)
                self._start(each)
        return known

    async def close(self) -> None:
        """What runs goes on, for the next owner."""
        await self._background.cancel()

    def _alone(self, task: StepTask, *, may_have_begun: bool = False) -> _Alone:
        name = task_name(task.run_id, task.step, task.attempt)
        return _Alone(task, Peer(name, self._namespace), may_have_begun)

    async def _names(self) -> set[str]:
        while True:
            try:
                found = await asyncio.to_thread(list_named_actors, all_namespaces=True)
            except Exception as error:
                log.warning("Ray does not say which attempts run: %s", error)
                await asyncio.sleep(_AGAIN_S)
            else:
                return {each["name"] for each in found if each["namespace"] == self._namespace}

    def _start(self, each: _Alone) -> None:
        self._followed += 1
        self._background.start(self._see_through(each))

    async def _see_through(self, each: _Alone) -> None:
        """From an actor that may wait for its resources to its end, however that comes."""
        try:
            report = await self._follow(each)
            if report is not None:
                await self._owner.lost([report])
        finally:
            self._followed -= 1
            if self._open.get(each.task.key) is each:
                del self._open[each.task.key]
            while self._waiting and self._followed < AT_ONCE:
                _, _, following = heapq.heappop(self._waiting)
                if self._open.get(following.task.key) is following and self._owner.epoch(following.task.id) is not None:
                    self._start(following)
        await self._end(each)

    async def _follow(self, each: _Alone) -> StepReport | None:
        """Returns what its actor could not report itself."""
        task = each.task
        try:
            if not each.may_have_begun:
                await asyncio.to_thread(self._make, each)
            if not await self._placed(each):
                return _given_up(each)
            if self._owner.epoch(task.id) is None:
                return None  # its next owner finds the actor, or has given it up
            each.may_have_begun = True
            await self._insist(each, "begin", self._host, encode_tasks([task]))
            return await self._until_ended(each)
        except GONE as error:
            why = str(original(error)).partition("\n")[0] or "its process is gone"
            report = lost(task.key, task.attempt, f"its process died: {why}")
            return report if each.may_have_begun else replace(report, never_ran=True)
        except Exception as error:
            log.exception("an attempt of %s cannot be made", task.activity)
            failure = Failure.of(original(error))
            return replace(lost(task.key, task.attempt, ""), failure=failure, never_ran=True)

    def _make(self, each: _Alone) -> None:
        """Called in a thread: it waits for Ray's head."""
        asks: Mapping[str, Any] = each.task.ray or {}
        ray.remote(TaskActor).options(
            name=each.peer.name,
            namespace=self._namespace,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=1000,
            runtime_env=self._settings.runtime_env,
            **{"num_cpus": _CPUS, **asks},
        ).remote(each.peer.name, self._settings)

    async def _placed(self, each: _Alone) -> bool:
        """Whether its actor is up; False when the step was given up, or had waited too long, before."""
        ready = asyncio.ensure_future(self._insist(each, "ready"))
        given_up = asyncio.ensure_future(each.given_up.wait())
        said = False
        try:
            while not ready.done() and not given_up.done() and (left_s := _left_s(each)) > 0:
                done, _ = await asyncio.wait(
                    {ready, given_up}, timeout=min(left_s, _SAID_AFTER_S), return_when=asyncio.FIRST_COMPLETED
                )
                if not done and not said:
                    said = True
                    self._owner.unplaced([each.task], await asyncio.to_thread(_why, each.task.ray or {}))
            if given_up.done() and each.may_have_begun:  # for a host before this one: it may well be up
                await asyncio.wait({ready}, timeout=_SAID_AFTER_S)
            if not ready.done():
                return False
            await ready
            self._owner.unplaced([each.task], "")
            return each.may_have_begun or not given_up.done()
        finally:
            ready.cancel()
            given_up.cancel()

    async def _until_ended(self, each: _Alone) -> StepReport | None:
        """Returns what it cannot report itself: it is frozen, or blocked, past its timeouts."""
        passing = asyncio.ensure_future(self._pass_cancel_on(each))
        living = asyncio.ensure_future(self._insist(each, "live"))
        limit_ms, which = each.task.silence(time.time_ns() // 1_000_000)
        patience_s = math.inf if limit_ms is None else limit_ms / 1000 + SILENT_S
        watching = asyncio.ensure_future(Pings(each.peer).until_silent(patience_s))
        try:
            await asyncio.wait({living, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not living.done():
                return timed_out(each.task.key, each.task.attempt, which)
            await living
        finally:
            passing.cancel()
            living.cancel()
            watching.cancel()
        return None

    async def _pass_cancel_on(self, each: _Alone) -> None:
        await each.given_up.wait()
        with contextlib.suppress(*GONE):
            await self._insist(each, "cancel", [tuple(each.task.key)])

    async def _insist(self, each: _Alone, method: str, *args: object) -> None:
        """Call its actor until it has answered. Raises: one of GONE when it is no more; what it raised."""
        while True:
            try:
                await each.peer.call(method, *args)
                return
            except AWAY:
                await asyncio.sleep(_AGAIN_S)

    async def _end(self, each: _Alone) -> None:
        """Its actor, if it is still there and ours to end."""
        self._on_ended(each.peer.name)
        if self._owner.epoch(each.task.id) is None:
            return
        try:
            handle = await asyncio.to_thread(ray.get_actor, each.peer.name, namespace=self._namespace)
        except ValueError:
            return
        ray.kill(handle)


def _left_s(each: _Alone) -> float:
    """How long it may still wait for its actor; one that may have begun waits for ever."""
    until_ms = each.task.begins_until_ms
    return math.inf if until_ms is None or each.may_have_begun else until_ms / 1000 - time.time()


def _given_up(each: _Alone) -> StepReport:
    """Its actor was not up, and is not going to be; unless another host had told it to begin, nothing has happened."""
    if not each.given_up.is_set():
        return queue_timed_out(each.task)
    report = withdrawn(each.task)
    if not each.may_have_begun:
        return report
    return replace(report, failure=Failure.cancelled(Outcome.UNKNOWN), never_ran=False)


def _why(asks: Mapping[str, Any]) -> str:
    """Called in a thread: it asks Ray's head."""
    wanted = {_RAYS_NAMES.get(name, name): amount for name, amount in {"num_cpus": _CPUS, **asks}.items()}
    wanted |= wanted.pop("resources", {})
    fits = any(
        node["Alive"] and all(node["Resources"].get(name, 0) >= amount for name, amount in wanted.items())
        for node in ray.nodes()  # type: ignore[no-untyped-call]
    )
    return f"waits for Ray resources {shown(asks)}: {'others have them now' if fits else 'no node has them'}"


_RAYS_NAMES = {"num_cpus": "CPU", "num_gpus": "GPU"}
