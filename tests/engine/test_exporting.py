"""Export of committed turns: each at least once, whoever dies; nothing before it is durable; no mark left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

import sagas
from sagas.engine.resident import Turn
from sagas.kernel.events import Event, RunStarted
from sagas.store.keys import shard_of
from sagas.store.memory import MemoryStore
from sagas.telemetry import ExportProgress, WholeHistory
from tests.engine.rig import HeldExecutor, Rig, play, until
from tests.simulation.time_skipping import LoopClock


@sagas.activity
async def work() -> None: ...


@sagas.saga
async def flow() -> None:
    await work()
    await sagas.sleep(1)
    await work()


class Collector:
    """An exporter that takes everything and says that it has arrived when the test wants it."""

    def __init__(self) -> None:
        self.exported: list[tuple[str, int, int]] = []
        self._waiting: list[Any] = []
        self._tell: Callable[[Sequence[Any], bool], None] = lambda _turns, _arrived: None

    def progress(self, marks: Iterable[tuple[str, str, int]]) -> ExportProgress:
        return ExportProgress(marks)

    def samples(self, run: RunStarted) -> bool:
        return run.id != "unsampled"

    def traceparent(self, run: RunStarted, episode: int, step: int, attempt: int) -> str:
        return f"{run.id}/{step}/{attempt}"

    def message_traceparent(self, run: RunStarted, episode: int, number: int) -> str:
        return ""

    def export(self, turn: Turn) -> None:
        self._take(turn)

    def export_history(self, history: Sequence[Event], first: int) -> None:
        self._take(WholeHistory.of(history, first))

    def start(self, on_settled: Callable[[Sequence[Any], bool], None]) -> None:
        self._tell = on_settled

    async def stop(self) -> bool:
        return True

    def _take(self, turn: Any) -> None:
        self.exported.append((turn.run.id, turn.position, turn.position + len(turn.events)))
        self._waiting.append(turn)

    def arrive(self) -> None:
        arrived, self._waiting = self._waiting, []
        self._tell(arrived, True)

    def covers(self, id: str, length: int) -> bool:
        """Whether every event of the history was exported at least once."""
        seen = {event for each, first, end in self.exported if each == id for event in range(first, end)}
        return seen == set(range(length))


def test_what_a_dead_host_had_not_exported_its_successor_exports() -> None:
    async def scenario(rig: Rig) -> None:
        first, held = Collector(), HeldExecutor()
        host = await rig.host(held=held, exporter=first)
        await rig.client.start(flow, id="f")
        await until(lambda: held.tasks)
        assert held.tasks[0].trace == "f/1/1"
        assert [mark[0] for mark in await rig.store.marks(shard_of("f"))] == ["f"]
        await rig.kill(host)  # nothing has arrived

        second = Collector()
        await rig.host(exporter=second)
        await rig.client.get("f").result()
        await until(lambda: second.covers("f", len(rig.history("f"))))
        second.arrive()
        await until(lambda: not rig.store._shards[shard_of("f")].marks)

    play(scenario, work, flow)


def test_a_run_that_is_not_sampled_leaves_no_mark_and_is_not_exported() -> None:
    async def scenario(rig: Rig) -> None:
        collector = Collector()
        await rig.host(exporter=collector)
        handle = await rig.client.start(flow, id="unsampled")
        await handle.result()
        assert collector.exported == []
        assert await rig.store.marks(shard_of("unsampled")) == []

    play(scenario, work, flow)


class Unreadable(MemoryStore):
    """Reading the first history meets a defect."""

    defect = True

    async def history(self, id: str, run_id: str, start: int = 0) -> list[bytes]:
        if self.defect:
            self.defect = False
            raise RuntimeError("a defect")
        return await super().history(id, run_id, start)


def test_a_defect_in_one_runs_export_ends_no_host(caplog: pytest.LogCaptureFixture) -> None:
    store = Unreadable(clock=LoopClock().now_ms)

    async def scenario(rig: Rig) -> None:
        held = HeldExecutor()
        host = await rig.host(held=held, exporter=Collector())
        await rig.client.start(flow, id="f")
        await until(lambda: held.tasks)
        await rig.kill(host)

        second = Collector()
        await rig.host(exporter=second)
        await until(lambda: second.exported)
        await until(lambda: second.covers("f", len(rig.history("f"))))
        second.arrive()
        await until(lambda: not rig.store._shards[shard_of("f")].marks)

    play(scenario, work, flow, store=store)
    assert not store.defect
    assert "stays marked" in caplog.text


class Sleeper(Collector):
    """Samples nothing."""

    def samples(self, run: RunStarted) -> bool:
        return False


def test_the_mark_of_a_run_that_is_not_sampled_any_more_goes() -> None:
    async def scenario(rig: Rig) -> None:
        held = HeldExecutor()
        host = await rig.host(held=held, exporter=Collector())
        await rig.client.start(flow, id="f")
        await until(lambda: held.tasks)
        assert rig.store._shards[shard_of("f")].marks
        await rig.kill(host)
        second = Sleeper()
        await rig.host(held=HeldExecutor(), exporter=second)
        await until(lambda: not rig.store._shards[shard_of("f")].marks)
        assert second.exported == []

    play(scenario, work, flow)
