"""How far the histories of one shard are exported: the marks its commits must carry, and what a new owner owes.

Law (protocol rule 12): for every committed event that is not exported, the store has a mark of its run at or before it.
So a mark is written with the first commit that makes a run lag behind, and removed by a later one when all has arrived;
whoever takes the shard over exports every marked run again from its mark on. A span may arrive twice, under one id.
Pure: the owner of the shard calls it, and carries out what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from sagas.telemetry.turn import Turn

MOVE_AFTER = 500
"""Events of a run that never comes to rest which have arrived since its mark, when a new one pays."""


RunKey = tuple[str, str]
"""Which run: its id, and its run id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """What a batch must carry (``Batch.marks`` and ``Batch.unmarks``)."""

    marks: tuple[tuple[str, str, int], ...] = ()
    unmarks: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Lag:
    """A marked run. Events before ``arrived`` have been exported, events before ``written`` are to be."""

    mark: int
    arrived: int
    written: int
    ahead: list[tuple[int, int]] = field(default_factory=list)  # exported too, after some that are not
    owed: bool = False  # some of it is in no queue: its history must be loaded and exported from ``arrived`` on
    loading: bool = False  # and is being loaded: what of it was written is known only then

    @property
    def over(self) -> bool:
        """Whether nothing is left to export."""
        return self.arrived >= self.written and not self.owed and not self.loading

    def arrive(self, first: int, end: int) -> None:
        """Events from ``first`` up to ``end`` have been exported."""
        self.ahead.append((first, end))
        self.ahead.sort()
        while self.ahead and self.ahead[0][0] <= self.arrived:
            self.arrived = max(self.arrived, self.ahead.pop(0)[1])


class ExportProgress:
    """Of one shard, from its claim to its loss. Turns of runs that are not sampled must be kept from it."""

    def __init__(self, marks: Iterable[tuple[str, str, int]] = (), has_room: Callable[[], bool] = lambda: True) -> None:
        """``marks``: what the store has at the claim (``Store.marks``). ``has_room`` for histories."""
        self._has_room = has_room
        self._lags: dict[RunKey, _Lag] = {}
        self._over: dict[RunKey, None] = {}  # those whose mark may go
        self._owed: dict[RunKey, None] = {}
        self._batch: tuple[dict[RunKey, int], dict[RunKey, int], tuple[RunKey, ...]] | None = None
        for id, run_id, position in marks:
            key = (id, run_id)
            self._lags[key] = _Lag(position, position, position, owed=True)
            self._owed[key] = None

    # --- around a commit

    def marking(self, turns: Iterable[Turn]) -> Marking:
        """Before the commit of these turns: what their batch must carry.

        One batch at a time: ``written`` or ``refused`` comes before the next call.
        """
        assert self._batch is None, "one batch at a time"
        ends: dict[RunKey, int] = {}
        marks: dict[RunKey, int] = {}
        for turn in turns:
            if turn.run is None or not turn.events:
                continue
            key = _key(turn)
            ends[key] = _end(turn)
            lag = self._lags.get(key)
            if lag is None:
                marks.setdefault(key, turn.position)
            elif lag.arrived >= lag.mark + MOVE_AFTER:
                marks[key] = lag.arrived
        unmarks = tuple(key for key in self._over if key not in ends)
        self._batch = (ends, marks, unmarks)
        return Marking(marks=tuple((*key, position) for key, position in marks.items()), unmarks=unmarks)

    def written(self) -> None:
        """The batch is durable. Its turns may be exported from now on, not earlier."""
        assert self._batch is not None, "after marking()"
        (ends, marks, unmarks), self._batch = self._batch, None
        for key in unmarks:
            del self._lags[key], self._over[key]
        for key, position in marks.items():
            lag = self._lags.get(key)
            if lag is None:
                self._lags[key] = _Lag(position, position, position)
            else:
                lag.mark = position
        for key, end in ends.items():
            self._lags[key].written = max(self._lags[key].written, end)
            self._over.pop(key, None)

    def refused(self) -> None:
        """Nothing of the batch was written."""
        self._batch = None

    # --- what became of spans

    def settled(self, turns: Iterable[Turn], arrived: bool) -> None:
        """The spans of these turns have arrived, or (False) could not be queued: they are owed then."""
        for turn in turns:
            key = _key(turn)
            lag = self._lags.get(key)
            if lag is None:  # of a run whose mark is gone: all of it had arrived, this is a repeat
                continue
            if arrived:
                lag.arrive(turn.position, _end(turn))
            elif _end(turn) > lag.arrived:  # else a repeat of what has arrived
                lag.owed = True
            self._judge(key)

    @property
    def removable(self) -> bool:
        """Whether marks wait to be removed by the next batch, or by one that has nothing else to write."""
        return bool(self._over)

    # --- what must be exported from histories

    def owed(self, limit: int = 100) -> list[tuple[str, str, int]]:
        """Runs (id, run_id, first event) to be exported from their histories; ``offered`` or ``postponed`` must follow.

        Call ``offered`` and then export ``WholeHistory.of(history, first)``; what finds no room is owed again.
        """
        keys = list(self._owed)[:limit] if self._has_room() else []
        for key in keys:
            lag = self._lags[key]
            lag.owed, lag.loading = False, True
            del self._owed[key]
        return [(*key, self._lags[key].arrived) for key in keys]

    def offered(self, id: str, run_id: str, length: int) -> None:
        """The run's history, so many events long, is being exported; 0: there is none any more, and nothing to do."""
        lag = self._lags[id, run_id]
        lag.loading = False
        lag.written = max(lag.written, length)
        if length == 0:
            lag.arrived = lag.written
        self._judge((id, run_id))

    def postponed(self, id: str, run_id: str) -> None:
        """Its history could not be loaded now: it stays owed."""
        lag = self._lags[id, run_id]
        lag.owed, lag.loading = True, False
        self._judge((id, run_id))

    def _judge(self, key: RunKey) -> None:
        lag = self._lags[key]
        if lag.over:
            self._over[key] = None
        else:
            self._over.pop(key, None)
        if lag.owed:
            self._owed[key] = None


def _key(turn: Turn) -> RunKey:
    assert turn.run is not None, "a turn of no run is not exported"
    return (turn.run.id, turn.run.run_id)


def _end(turn: Turn) -> int:
    return turn.position + len(turn.events)
