"""What a scope has to undo, and in which order; everything that decides about an undo lives here.

Law: a plan is a function of the calls made on it, so replaying them after a crash rebuilds it. It knows steps (the
scheduling sequence numbers of the run), never payloads, clocks or attempts; a refused call changes nothing.
Sources: Garcia-Molina & Salem, *Sagas* (SIGMOD 1987); Richardson's compensatable / pivot / retriable taxonomy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from compensations.entry import Entry, UndoState
from compensations.errors import PivotPassed, ScopeClosed
from compensations.outcome import Outcome
from compensations.state import Compensation


@dataclass(frozen=True, slots=True, kw_only=True)
class Savepoint:
    """A place in one plan: going back to it undoes what joined the plan later."""

    plan: Plan = field(repr=False)
    place: int


class Plan:
    """The undo plan of one scope: told what happened, it answers which undos to start next.

    Every method raises KeyError for a step that is not in the plan, ValueError for a call that does not fit.

    - Undone is what may have had an effect (DONE, UNKNOWN); NONE is void. An undo is never selected twice.
    - Undos run in reverse order of *scheduling*; a savepoint divides by order of *joining*, so that an adopted scope
      goes back whole even when it ran beside this one.
    - At both ends of a scope, outcomes come first: ``unwind`` and ``close`` refuse while steps are open.
    - A savepoint of a branch that was undone since is harmless: it undoes what joined after that branch.
    - ``keep`` means never: neither a good close, nor a failing scope, nor the outer one undoes that step.
    - After a pivot the plan holds nothing undoable and takes nothing in: an UNKNOWN step caught before it stays.
    - A pivot is its scope's own: the outer scope's steps stay undoable, what the inner did before it does not.
    - Going back to a savepoint older than a pivot (also an adopted scope's) is refused: it could not be kept true.
    - An inner scope that closes inside a pivoted one hands over nothing undoable: there is only forward.
    - A caught UNKNOWN step is undone by its own scope's close, so none that is undoable is ever handed over.
    - A scope that closed well may still be unwound (a child saga undone by its parent), until it is adopted.
    - Failing while going back to a savepoint, or while closing, adds to what is being undone; nothing restarts.
    """

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}  # in order of joining; a savepoint is a length of it
        self._open: dict[int, int] = {}  # steps without outcome -> their place in that order
        self._selected: list[int] = []  # newest first
        self._running: set[int] = set()
        self._stuck: dict[int, str] = {}  # -> reason
        self._barrier = 0  # places before it were made final by a pivot
        self._pivoted = False
        self._ended = False
        self._undid = False  # something was selected at some time, here or in an adopted scope

    def schedule(self, step: int) -> None:
        """A compensatable step joins, open until settled. Raises PivotPassed, or ScopeClosed after the end."""
        self._join(Entry(step=step, outcome=None))
        self._open[step] = len(self._entries) - 1

    def add(self, step: int) -> None:
        """An undo registered by hand joins as DONE. Raises as ``schedule`` does."""
        self._join(Entry(step=step, outcome=Outcome.DONE))

    def settle(self, step: int, outcome: Outcome) -> None:
        """The step's outcome is known; the first one wins, a repeated call changes nothing."""
        entry = self._entry(step)
        if entry.outcome is None:
            del self._open[step]
            state: UndoState = "void" if outcome is Outcome.NONE else entry.state
            self._entries[step] = Entry(step=step, outcome=outcome, state=state)

    def keep(self, step: int) -> None:
        """The step is never undone, whatever its outcome is or will be. ValueError once its undo was selected."""
        if self._entry(step).state != "void":
            self._move(step, "kept", "pending", "kept")

    def pivot(self) -> None:
        """The point of no return: nothing in this plan is undone from now on. ValueError while it is undoing."""
        self._refuse_ended()
        if not self.finished:
            raise ValueError("a scope that is going back cannot pivot: await back_to() first")
        self._pivoted = True
        self._finalise()

    @property
    def pivoted(self) -> bool:
        """Whether this scope has passed its pivot."""
        return self._pivoted

    def savepoint(self) -> Savepoint:
        """The place to which ``unwind`` can go back; good for this plan only, until it ends."""
        self._refuse_ended()
        return Savepoint(plan=self, place=len(self._entries))

    def open_steps(self, to: Savepoint | None = None) -> tuple[int, ...]:
        """The steps (after ``to``) that must settle before the first undo. Raises as ``unwind`` does."""
        start = self._start(to)
        return tuple(sorted(step for step, place in self._open.items() if place >= start))

    def unwind(self, to: Savepoint | None = None) -> None:
        """The scope fails, or goes back to ``to``: select what joined since and may have had an effect.

        Raises PivotPassed if ``to`` is older than a pivot, ScopeClosed if the scope has ended meanwhile, ValueError
        while steps are open or if ``to`` belongs to another plan.
        """
        self._refuse_open(to)
        if to is None:
            self._ended = True
        self._select(islice(self._entries.values(), self._start(to), None))

    def close(self) -> None:
        """The scope ends well: select only UNKNOWN steps that were not kept. ValueError while steps are open."""
        self._refuse_open(None)
        self._ended = True
        self._select(entry for entry in self._entries.values() if entry.outcome is Outcome.UNKNOWN)

    @property
    def ended(self) -> bool:
        """Whether the scope was closed or failed as a whole; it may still be undoing."""
        return self._ended

    def adopt(self, inner: Plan) -> None:
        """Take over what an ended inner scope has not undone; what is undoable there is undoable here from now on.

        The entries move, so that no step can be undone by two plans. Raises ValueError while ``inner`` is not ended
        or still undoing, ScopeClosed if this scope has ended itself.
        """
        self._refuse_ended()
        if not (inner.ended and inner.finished):
            raise ValueError("only a scope that has ended and has nothing left to undo can be adopted")
        handed = {step: entry for step, entry in inner._entries.items() if entry.state != "undone"}
        if not handed.keys().isdisjoint(self._entries):
            raise ValueError(f"steps {sorted(handed.keys() & self._entries)} are in the outer plan already")
        inner._entries = {step: entry for step, entry in inner._entries.items() if step not in handed}
        self._entries |= handed
        self._undid = self._undid or inner._undid
        if self._pivoted:
            self._finalise()
        elif inner._barrier:
            self._barrier = len(self._entries)

    def next(self, parallel: bool = False) -> tuple[int, ...]:
        """The undos to start now, newest first; () if there is none to start, or the order has to wait.

        One at a time, a stuck undo holds back the older ones; in parallel the others go on.
        """
        if parallel:
            return tuple(self._selected)
        return () if self._running or self._stuck else tuple(self._selected[:1])

    def started(self, step: int) -> None:
        """The undo of a selected step is in flight; from here only ``undone`` or ``failed`` ends it."""
        self._move(step, "running", "selected")
        self._selected.remove(step)
        self._running.add(step)

    def undone(self, step: int) -> None:
        """The undo in flight succeeded, or an operator resolved the stuck one."""
        self._move(step, "undone", "running", "stuck")
        self._running.discard(step)
        self._stuck.pop(step, None)

    def failed(self, step: int, reason: str) -> None:
        """The undo in flight gave up by its own retry policy: it is stuck until an operator acts."""
        self._move(step, "stuck", "running")
        self._running.discard(step)
        self._stuck[step] = reason

    def retry(self, step: int) -> None:
        """An operator wants a stuck undo tried again."""
        self._move(step, "selected", "stuck")
        del self._stuck[step]
        self._queue([step])

    def skip(self, step: int) -> None:
        """An operator gives a stuck undo up: its effect stays, the older ones go on."""
        self._move(step, "skipped", "stuck")
        del self._stuck[step]

    @property
    def finished(self) -> bool:
        """Nothing left to undo, nothing in flight, nothing stuck."""
        return not (self._selected or self._running or self._stuck)

    @property
    def stuck(self) -> tuple[tuple[int, str], ...]:
        """The undos that gave up and why, in scheduling order."""
        return tuple(sorted(self._stuck.items()))

    @property
    def compensation(self) -> Compensation:
        """How far undoing is; one stuck undo makes it STUCK even while others run."""
        if self._stuck:
            return Compensation.STUCK
        if not self.finished:
            return Compensation.RUNNING
        return Compensation.DONE if self._undid else Compensation.NONE

    def entries(self) -> tuple[Entry, ...]:
        """All steps of the plan in scheduling order; those an adopted scope had undone stay in its own plan."""
        return tuple(sorted(self._entries.values(), key=lambda entry: entry.step))

    def _entry(self, step: int) -> Entry:
        if step not in self._entries:
            raise KeyError(f"step {step} is not in this undo plan")
        return self._entries[step]

    def _join(self, entry: Entry) -> None:
        self._refuse_ended()
        if self._pivoted:
            raise PivotPassed(f"step {entry.step} has a compensation, but comes after the pivot of its scope")
        if entry.step in self._entries:
            raise ValueError(f"step {entry.step} is in this undo plan already")
        self._entries[entry.step] = entry

    def _move(self, step: int, new: UndoState, *old: UndoState) -> None:
        entry = self._entry(step)
        if entry.state not in old:
            raise ValueError(f"step {step} is {entry.state}, so it cannot become {new}")
        self._entries[step] = Entry(step=step, outcome=entry.outcome, state=new)  # replace() takes twice as long

    def _select(self, entries: Iterable[Entry]) -> None:
        steps = [entry.step for entry in entries if entry.state == "pending"]
        for step in steps:
            self._move(step, "selected", "pending")
        self._undid = self._undid or bool(steps)
        self._queue(steps)

    def _queue(self, steps: list[int]) -> None:
        self._selected.extend(steps)
        self._selected.sort(reverse=True)

    def _finalise(self) -> None:
        """Make everything in the plan final: what is still undoable is kept, and no savepoint reaches behind it."""
        for entry in list(self._entries.values()):
            if entry.state == "pending":
                self._move(entry.step, "kept", "pending")
        self._barrier = len(self._entries)

    def _start(self, to: Savepoint | None) -> int:
        if to is None:
            return 0
        if to.plan is not self:
            raise ValueError("the savepoint was taken in another scope: go back within the scope that took it")
        self._refuse_ended()
        if to.place < self._barrier:
            raise PivotPassed("the savepoint is older than a pivot: what came before the pivot cannot be undone")
        return to.place

    def _refuse_open(self, to: Savepoint | None) -> None:
        if steps := self.open_steps(to):
            raise ValueError(f"steps {list(steps)} are open: they must settle before anything is undone")

    def _refuse_ended(self) -> None:
        if self._ended:
            raise ScopeClosed("the scope has ended: use the scope around it, or open a new one")
