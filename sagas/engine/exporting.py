"""Export of committed turns, shard by shard, and the marks by which a new owner knows what has not arrived.

Law (protocol rule 12): a turn is handed over only when it is durable, and its commit carried a mark of its run, so that
whoever owns the shard after a crash exports it again. What is exported, and how, the ``Exporter`` alone knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sagas.engine.resident import Turn
from sagas.engine.shard import Shard
from sagas.errors import HistoryError, StoreUnavailable
from sagas.kernel.events import Event, RunStarted, decode_chunk
from sagas.store.keys import shard_of
from sagas.store.port import Store

log = logging.getLogger("sagas.engine")

_LOOK_EVERY_S = 1.0


class Marking(Protocol):
    """What a batch must carry."""

    @property
    def marks(self) -> tuple[tuple[str, str, int], ...]: ...
    @property
    def unmarks(self) -> tuple[tuple[str, str], ...]: ...


class Progress(Protocol):
    """How far one shard's histories are exported, from its claim to its loss."""

    def marking(self, turns: Iterable[Any]) -> Marking:
        """Before the commit of these turns; ``written`` or ``refused`` comes before the next call."""
        ...

    def written(self) -> None: ...
    def refused(self) -> None: ...
    def settled(self, turns: Iterable[Any], arrived: bool) -> None: ...
    @property
    def removable(self) -> bool:
        """Whether marks wait to be removed by a batch."""
        ...

    def owed(self, limit: int = 100) -> list[tuple[str, str, int]]:
        """Runs (id, run_id, first event) to be exported from their histories; ``offered`` or ``postponed`` follows."""
        ...

    def offered(self, id: str, run_id: str, length: int) -> None: ...
    def postponed(self, id: str, run_id: str) -> None: ...


class Exporter(Protocol):
    """Where durable turns go."""

    def progress(self, marks: Iterable[tuple[str, str, int]]) -> Progress:
        """Of a shard that was claimed, with what the store has marked."""
        ...

    def samples(self, run: RunStarted) -> bool: ...
    def traceparent(self, run: RunStarted, episode: int, step: int, attempt: int) -> str: ...
    def message_traceparent(self, run: RunStarted, episode: int, number: int) -> str: ...
    def export(self, turn: Turn) -> None:
        """Take a durable turn; returns at once, never raises."""
        ...

    def export_history(self, history: Sequence[Event], first: int) -> None:
        """Take what follows event ``first`` of a history."""
        ...

    def start(self, on_settled: Callable[[Sequence[Any], bool], None]) -> None:
        """``on_settled`` hears on this loop which turns have arrived, or (False) were not taken."""
        ...

    async def stop(self) -> bool: ...


class Exporting:
    """The exports of one host's shards."""

    def __init__(
        self, exporter: Exporter, store: Store, shards: Mapping[int, Shard], flush: Callable[[], None]
    ) -> None:
        """``flush``: there is something to write."""
        self._exporter = exporter
        self._store = store
        self._shards = shards
        self._flush = flush

    def start(self) -> None:
        """Take turns from now on."""
        self._exporter.start(self._settled)

    async def stop(self) -> None:
        """Send what waits."""
        await self._exporter.stop()

    async def claimed(self, shard: Shard) -> None:
        """Learn what its last owner had not exported. Raises: StoreUnavailable."""
        shard.export = ShardExport(self._exporter, self._exporter.progress(await self._store.marks(shard.number)))

    def committed(self, shard: Shard, turns: Iterable[Turn]) -> None:
        """These are durable."""
        assert shard.export is not None, "set at the claim"
        shard.export.written()
        for turn in turns:
            if shard.export.covers(turn):
                self._exporter.export(turn)

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Export from their histories what earlier owners, or a full queue, have left."""
        while not stopped():
            for shard in list(self._shards.values()):
                if shard.export is not None:
                    await self._pay(shard.export.progress)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _pay(self, progress: Progress) -> None:
        for id, run_id, first in progress.owed():
            try:
                history = await self._wanted(id, run_id)
            except StoreUnavailable as error:
                log.warning("a history cannot be read for its spans: %s", error)
                progress.postponed(id, run_id)
            except Exception:  # a defect, of this run alone: the host and the other runs go on
                log.exception("the history of %r cannot be exported now; it stays marked", id)
                progress.postponed(id, run_id)
            else:
                progress.offered(id, run_id, len(history))
                if first < len(history):
                    self._exporter.export_history(history, first)
        if progress.removable:
            self._flush()

    async def _wanted(self, id: str, run_id: str) -> list[Event]:
        """The history; empty where nothing of it is to be exported, so that its mark may go."""
        try:
            history = [event for chunk in await self._store.history(id, run_id) for event in decode_chunk(chunk)]
        except HistoryError as error:
            log.warning("the spans of %r are lost: %s", id, error)
            return []
        # The mark may be of a host with another sampler: what this one does not sample, nothing would ever settle.
        sampled = bool(history) and isinstance(history[0], RunStarted) and self._exporter.samples(history[0])
        return history if sampled else []

    def _settled(self, turns: Sequence[Any], arrived: bool) -> None:
        by_shard: dict[int, list[Any]] = {}
        for turn in turns:
            by_shard.setdefault(shard_of(turn.run.id), []).append(turn)
        removable = False
        for number, settled in by_shard.items():
            shard = self._shards.get(number)
            if shard is not None and shard.export is not None:
                shard.export.progress.settled(settled, arrived)
                removable |= shard.export.progress.removable
        if removable:
            self._flush()


class ShardExport:
    """One shard's progress; runs that are not sampled leave no mark."""

    def __init__(self, exporter: Exporter, progress: Progress) -> None:
        self.progress = progress
        self._exporter = exporter

    def covers(self, turn: Turn) -> bool:
        """Whether its spans are wanted."""
        return turn.run is not None and bool(turn.events) and self._exporter.samples(turn.run)

    @property
    def removable(self) -> bool:
        """Whether marks wait to be removed."""
        return self.progress.removable

    def marking(self, turns: Iterable[Turn]) -> Marking:
        """What the batch of these turns carries."""
        return self.progress.marking([turn for turn in turns if self.covers(turn)])

    def written(self) -> None:
        """The batch is durable."""
        self.progress.written()

    def refused(self) -> None:
        """It is not, and its turns come again."""
        self.progress.refused()
