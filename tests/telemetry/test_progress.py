"""The exported-up-to mark: whatever crashes whenever, the store says from where each history must be exported again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sagas.kernel.episode import Trail
from sagas.kernel.events import Activated, Event, RunStarted
from sagas.telemetry import ExportProgress, Marking
from sagas.telemetry.progress import MOVE_AFTER

RUNS = ("run-0", "run-1", "run-2")


@dataclass(frozen=True)
class Portion:
    """Some events of a run; as good as a turn."""

    run: RunStarted
    position: int
    events: Sequence[Event]
    trail: Trail = field(default_factory=Trail)

    @property
    def end(self) -> int:
        return self.position + len(self.events)


def portion(run_id: str, first: int, end: int) -> Portion:
    return Portion(RunStarted("id-1", run_id, "T", b""), first, [Activated()] * (end - first))


def committed(progress: ExportProgress, *turns: Portion) -> Marking:
    marking = progress.marking(turns)
    progress.written()
    return marking


def test_a_run_is_marked_once_while_it_lags_and_unmarked_after_all_has_arrived() -> None:
    progress = ExportProgress()
    first, second = portion("run-0", 0, 3), portion("run-0", 3, 5)
    assert committed(progress, first) == Marking(marks=(("id-1", "run-0", 0),))
    assert committed(progress, second) == Marking()
    progress.settled([first], True)
    assert (progress.removable, committed(progress)) == (False, Marking())
    progress.settled([second], True)
    assert progress.removable
    assert committed(progress) == Marking(unmarks=(("id-1", "run-0"),))
    assert not progress.removable
    assert committed(progress, portion("run-0", 5, 6)) == Marking(marks=(("id-1", "run-0", 5),))


def test_two_turns_of_one_run_in_one_batch_make_one_mark_at_the_first() -> None:
    marking = ExportProgress().marking([portion("run-0", 4, 6), portion("run-1", 0, 1), portion("run-0", 6, 9)])
    assert marking.marks == (("id-1", "run-0", 4), ("id-1", "run-1", 0))


def test_a_mark_stays_when_the_run_goes_on_in_the_batch_that_could_remove_it() -> None:
    progress = ExportProgress()
    first, second = portion("run-0", 0, 3), portion("run-0", 3, 5)
    committed(progress, first)
    progress.settled([first], True)
    assert committed(progress, second) == Marking()
    assert not progress.removable


def test_the_mark_of_a_run_that_never_rests_moves_now_and_then() -> None:
    progress = ExportProgress()
    marks = []
    for position in range(0, 3 * MOVE_AFTER, 10):
        turn = portion("run-0", position, position + 10)
        marks += committed(progress, turn).marks
        if position:
            progress.settled([portion("run-0", position - 10, position)], True)
    assert [position for *_, position in marks] == [0, MOVE_AFTER, 2 * MOVE_AFTER]


def test_a_refused_batch_leaves_everything_as_it_was() -> None:
    progress = ExportProgress()
    first = portion("run-0", 0, 3)
    marking = progress.marking([first])
    progress.refused()
    assert progress.marking([first]) == marking
    progress.written()
    progress.settled([first], True)
    unmarking = progress.marking([])
    progress.refused()
    assert progress.removable
    assert progress.marking([]) == unmarking


def test_two_batches_at_once_are_a_defect() -> None:
    progress = ExportProgress()
    progress.marking([])
    with pytest.raises(AssertionError, match="one batch at a time"):
        progress.marking([])


def test_turns_without_events_need_no_mark() -> None:
    assert committed(ExportProgress(), portion("run-0", 3, 3)) == Marking()


def test_a_new_owner_exports_what_is_marked_from_its_mark_on() -> None:
    progress = ExportProgress([("id-1", "run-0", 2)])
    assert progress.owed() == [("id-1", "run-0", 2)]
    assert (progress.owed(), progress.removable) == ([], False)
    progress.offered("id-1", "run-0", 7)
    assert not progress.removable
    progress.settled([portion("run-0", 2, 7)], True)
    assert committed(progress) == Marking(unmarks=(("id-1", "run-0"),))


def test_turns_committed_while_the_history_is_loaded_are_waited_for() -> None:
    progress = ExportProgress([("id-1", "run-0", 2)])
    progress.owed()
    newer = portion("run-0", 7, 9)
    assert committed(progress, newer) == Marking()
    progress.offered("id-1", "run-0", 7)
    progress.settled([portion("run-0", 2, 7)], True)
    assert not progress.removable
    progress.settled([newer], True)
    assert progress.removable


def test_a_turn_of_an_earlier_claim_that_arrives_while_the_history_is_loaded_removes_no_mark() -> None:
    progress = ExportProgress([("id-1", "run-0", 2)])
    progress.owed()
    progress.settled([portion("run-0", 2, 5)], True)  # how much was written after it is not known yet
    assert (progress.removable, committed(progress)) == (False, Marking())
    progress.offered("id-1", "run-0", 7)
    assert not progress.removable
    progress.settled([portion("run-0", 2, 7)], True)
    assert committed(progress) == Marking(unmarks=(("id-1", "run-0"),))


def test_a_repeat_that_finds_no_room_while_the_mark_is_removed_owes_nothing() -> None:
    progress = ExportProgress()
    turn = portion("run-0", 0, 3)
    committed(progress, turn)
    progress.settled([turn], True)
    assert progress.marking([]) == Marking(unmarks=(("id-1", "run-0"),))
    progress.settled([turn], False)
    progress.written()
    assert (progress.removable, progress.owed()) == (False, [])


def test_a_run_that_is_gone_is_unmarked() -> None:
    progress = ExportProgress([("id-1", "run-0", 2)])
    progress.owed()
    progress.offered("id-1", "run-0", 0)
    assert committed(progress) == Marking(unmarks=(("id-1", "run-0"),))


def test_a_history_that_cannot_be_loaded_now_stays_owed() -> None:
    progress = ExportProgress([("id-1", "run-0", 2), ("id-1", "run-1", 0)])
    assert progress.owed(limit=1) == [("id-1", "run-0", 2)]
    progress.postponed("id-1", "run-0")
    assert (progress.removable, progress.marking([])) == (False, Marking())
    assert sorted(progress.owed()) == [("id-1", "run-0", 2), ("id-1", "run-1", 0)]


def test_no_history_is_asked_for_while_there_is_no_room_for_it() -> None:
    room = [False]
    progress = ExportProgress([("id-1", "run-0", 2)], has_room=lambda: room[0])
    assert progress.owed() == []
    room[0] = True
    assert progress.owed() == [("id-1", "run-0", 2)]


def test_what_found_no_room_is_owed_from_the_first_event_that_has_not_arrived() -> None:
    progress = ExportProgress()
    first, second, third = portion("run-0", 0, 3), portion("run-0", 3, 5), portion("run-0", 5, 6)
    committed(progress, first, second, third)
    progress.settled([second], False)
    progress.settled([third], True)
    progress.settled([first], True)
    assert not progress.removable
    assert progress.owed() == [("id-1", "run-0", 3)]
    progress.offered("id-1", "run-0", 6)
    progress.settled([portion("run-0", 3, 6)], True)
    assert progress.removable


def test_a_repeat_that_arrives_after_the_mark_has_gone_means_nothing() -> None:
    progress = ExportProgress()
    turn = portion("run-0", 0, 3)
    committed(progress, turn)
    progress.settled([turn], True)
    committed(progress)
    progress.settled([turn, turn], True)
    progress.settled([turn], False)
    assert (progress.removable, progress.owed()) == (False, [])


class Owners(RuleBasedStateMachine):
    """A shard, its owners one after another, a store that remembers, and a collector that may be down."""

    def __init__(self) -> None:
        super().__init__()
        self.histories = dict.fromkeys(RUNS, 0)  # run -> events committed
        self.marks: dict[str, int] = {}
        self.collected: dict[str, set[int]] = {run: set() for run in RUNS}
        self.claim()

    @initialize()
    def claim(self) -> None:
        self.progress = ExportProgress(sorted(("id-1", run, position) for run, position in self.marks.items()))
        self.turns: list[Portion] = []  # made, not committed
        self.batch: tuple[list[Portion], Marking] | None = None
        self.loading: list[tuple[str, str, int]] = []
        self.queue: list[Portion] = []

    @rule(runs=st.lists(st.tuples(st.sampled_from(RUNS), st.integers(1, 3) | st.just(MOVE_AFTER)), max_size=3))
    def make_turns(self, runs: list[tuple[str, int]]) -> None:
        for run, length in runs:
            pending = [turn.end for turn in self.turns if turn.run.run_id == run]
            if self.batch is not None:
                pending += [turn.end for turn in self.batch[0] if turn.run.run_id == run]
            first = max([self.histories[run], *pending])
            self.turns.append(portion(run, first, first + length))

    @precondition(lambda self: self.batch is None)
    @rule()
    def send_batch(self) -> None:
        self.batch = (self.turns, self.progress.marking(self.turns))
        self.turns = []

    def _write(self, batch: tuple[list[Portion], Marking]) -> None:
        turns, marking = batch
        for turn in turns:
            self.histories[turn.run.run_id] = turn.end
        for _, run, position in marking.marks:
            self.marks[run] = position
        for _, run in marking.unmarks:
            del self.marks[run]

    @precondition(lambda self: self.batch is not None)
    @rule()
    def batch_is_written(self) -> None:
        assert self.batch is not None
        self._write(self.batch)
        self.progress.written()
        self.queue += self.batch[0]
        self.batch = None

    @precondition(lambda self: self.batch is not None)
    @rule()
    def batch_is_refused(self) -> None:
        assert self.batch is not None
        self.progress.refused()
        self.turns, self.batch = self.batch[0] + self.turns, None

    @precondition(lambda self: self.queue)
    @rule(data=st.data(), heard=st.booleans())
    def spans_arrive(self, data: st.DataObject, heard: bool) -> None:
        turn = self.queue.pop(data.draw(st.integers(0, len(self.queue) - 1)))
        self.collected[turn.run.run_id].update(range(turn.position, turn.end))
        if heard:
            self.progress.settled([turn], True)
        else:
            self.queue.append(turn)  # the collector took it and its answer was lost

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def queue_is_full(self, data: st.DataObject) -> None:
        turn = self.queue.pop(data.draw(st.integers(0, len(self.queue) - 1)))
        self.progress.settled([turn], False)

    @precondition(lambda self: not self.loading)
    @rule()
    def begin_to_load_what_is_owed(self) -> None:
        self.loading = self.progress.owed(limit=2)

    @rule(loads=st.booleans())
    def loaded(self, loads: bool) -> None:
        owed, self.loading = self.loading, []
        for id, run, first in owed:
            if loads:
                self.progress.offered(id, run, self.histories[run])
                self.queue.append(portion(run, first, self.histories[run]))
            else:
                self.progress.postponed(id, run)

    @rule(written=st.booleans())
    def crash(self, written: bool) -> None:
        """Nobody knows whether the batch on its way arrived."""
        if self.batch is not None and written:
            self._write(self.batch)
        self.claim()

    @precondition(lambda self: self.batch is None)
    @rule()
    def lose_and_claim_again(self) -> None:
        """The same process: what waits to be sent is sent."""
        queue = self.queue
        self.claim()
        self.queue = queue

    @invariant()
    def every_event_that_was_not_collected_is_marked(self) -> None:
        for run, length in self.histories.items():
            missing = set(range(length)) - self.collected[run]
            if missing:
                assert self.marks[run] <= min(missing)

    def teardown(self) -> None:
        """Given time, everything arrives and no mark stays."""
        if self.batch is not None:
            self.batch_is_written()
        self.send_batch()
        self.batch_is_written()
        for _ in range(4):
            self.loaded(True)
            self.begin_to_load_what_is_owed()
            self.loaded(True)
            for turn in self.queue:
                self.collected[turn.run.run_id].update(range(turn.position, turn.end))
                self.progress.settled([turn], True)
            self.queue.clear()
        self.send_batch()
        self.batch_is_written()
        assert self.marks == {}
        assert all(self.collected[run] == set(range(length)) for run, length in self.histories.items())


TestOwners = Owners.TestCase
TestOwners.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
