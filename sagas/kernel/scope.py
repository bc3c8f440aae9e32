"""``compensating()``: a block whose steps are undone, newest first, when it fails.

Law: what is undone, and in which order, is the plan's to say (``compensations.Plan``); this scope only records steps
with it, asks it "what next?", runs that, and tells it what happened. Undoing is shielded: cancel never interrupts it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from compensations import Outcome, PivotPassed, Plan, Savepoint, ScopeClosed
from sagas.errors import DefinitionError, InvalidArgument
from sagas.kernel.current import current
from sagas.kernel.events import (
    CompensationCompleted,
    CompensationEnded,
    CompensationFailed,
    CompensationScheduled,
    CompensationStarted,
    StepCompleted,
    StepFailed,
    StepScheduled,
)
from sagas.kernel.failure import Failure, told
from sagas.payloads import prepend

if TYPE_CHECKING:
    from sagas.kernel.activity import Activity
    from sagas.kernel.instance import Instance, Settled

_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("sagas_scope", default=None)


def current_scope() -> Scope | None:
    """The innermost open scope of the running task, or None."""
    scope = _scope.get()
    return None if scope is None else scope.nearest_open()


@dataclass(slots=True)
class _Action:
    """What an undo will need: which activity undoes it, and with what."""

    undo: Activity[..., Any]
    args: bytes  # the action's arguments; for an undo added by hand, the undo's own
    by_hand: bool
    result: bytes | None = None


class Scope:
    """The ``undo`` of ``async with compensating() as undo``."""

    def __init__(self, parallel: bool) -> None:
        self._parallel = parallel
        self._plan = Plan()
        self._actions: dict[int, _Action] = {}
        self._open_steps: dict[int, asyncio.Future[None]] = {}
        self._outer: Scope | None = None
        self._token: contextvars.Token[Scope | None] | None = None
        self._instance: Instance | None = None
        self._left: asyncio.Future[None] | None = None
        self._undoing = asyncio.Lock()  # one unwinding at a time: a block may fail while a task of it goes back
        self.number = 0

    def nearest_open(self) -> Scope | None:
        """This scope, or the nearest one around it that has not ended."""
        scope: Scope | None = self
        while scope is not None and scope._plan.ended:
            scope = scope._outer
        return scope

    # --- the user's calls

    def add(self, activity: Activity[..., Any], *args: Any) -> None:
        """Undo by calling ``activity(*args)`` if the block fails; for what no activity of its own can undo."""
        instance = current("undo.add()")
        instance.check_writable("add an undo")
        encoded = activity.signature.encode(args, {})  # first: what cannot travel never joins
        number = instance.next_sequence()
        with _refusing_the_past():
            self._plan.add(number)
        self._actions[number] = _Action(activity, encoded, by_hand=True)

    def pivot(self) -> None:
        """From here on only forward: nothing before it is undone any more."""
        with _refusing_the_past():
            self._plan.pivot()

    def savepoint(self) -> Savepoint:
        """A place in the block to come back to with ``back_to``."""
        with _refusing_the_past():
            return self._plan.savepoint()

    async def back_to(self, savepoint: Savepoint) -> None:
        """Undo what was done since ``savepoint``, newest first; then the block goes on another way."""
        with _refusing_the_past():
            cancelled = await self._shielded(self._unwind("back_to", savepoint))
        if cancelled is not None:
            raise cancelled

    def keep(self, step: object) -> None:
        """Leave a step whose outcome is unknown (and whose error was caught) as it is when the block closes.

        ``step`` is the call (``step = charge(...)``), or the task made from it.
        """
        call = step.get_coro() if isinstance(step, asyncio.Task) else step
        number = getattr(call, "number", 0)
        if number not in self._actions:
            raise InvalidArgument(f"{step!r} is no step of this scope: pass the call you awaited")
        self._plan.keep(number)

    # --- the block

    async def __aenter__(self) -> Scope:
        self._instance = current("compensating()")
        self.number = self._instance.next_sequence()
        self._outer = current_scope()
        self._token = _scope.set(self)
        self._left = self._instance.enter_scope()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, GeneratorExit):
            return  # the instance is being dropped: its history goes on elsewhere
        instance, left = self._running, self._left
        assert left is not None, "it was entered"
        if error is not None and instance.parks_on(error):
            await instance.park(error)
        if self._token is not None:
            _scope.reset(self._token)
        try:
            await self._leave(error, left)
        finally:
            instance.left_scope(left)

    async def _leave(self, error: BaseException | None, left: asyncio.Future[None]) -> None:
        if error is None:
            try:
                await self._settled(cancel=False)
            except asyncio.CancelledError as cancel:  # while steps are open, a cancel comes into the block, not after
                self._running.leaving_scope(left)
                await self._fail(cancel)
                raise
        self._running.leaving_scope(left)
        if error is not None:
            await self._fail(error)
        elif cancelled := await self._shielded(self._close()):
            raise cancelled

    # --- what steps tell it

    def check_open(self, activity: Activity[..., Any]) -> None:
        """Raises: DefinitionError for a step with an undo after the pivot."""
        if self._pivoted:
            raise DefinitionError(
                f"activity {activity.name!r} has a compensation but stands after undo.pivot(), where none is run: "
                "move it before the pivot, or call it with .options(compensate=False)"
            )

    @property
    def _pivoted(self) -> bool:
        return self._plan.pivoted or (self._outer is not None and self._outer._pivoted)

    def join(self, scheduled: StepScheduled, activity: Activity[..., Any]) -> Callable[[Settled], None]:
        """A step with an undo was scheduled inside; returns who must hear of its outcome."""
        assert activity.undo is not None, "only compensatable steps join a scope"
        number = scheduled.step
        self._plan.schedule(number)
        action = self._actions[number] = _Action(activity.undo, scheduled.args, by_hand=False)
        settled = self._open_steps[number] = self._running.loop.create_future()

        def settle(event: Settled) -> None:
            if isinstance(event, StepCompleted):
                action.result = event.result
                outcome = Outcome.DONE
            else:
                assert isinstance(event, StepFailed), "an action never ends with an undo's event"
                outcome = Failure.from_row(event.failure).outcome
            self._plan.settle(number, outcome)
            self._open_steps.pop(number, None)
            settled.set_result(None)

        return settle

    # --- undoing

    async def _fail(self, error: BaseException) -> None:
        """Undo; ``error`` goes on afterwards, and a cancel that came meanwhile waits for the next await."""
        cancelled = await self._shielded(self._unwind(f"{type(error).__qualname__}: {told(error)}"))
        if cancelled is not None and not isinstance(error, asyncio.CancelledError):
            self._running.cancel_later()

    @property
    def _running(self) -> Instance:
        assert self._instance is not None, "the scope was never entered"
        return self._instance

    async def _shielded(self, work: Any) -> asyncio.CancelledError | None:
        """Run ``work`` to its end whatever cancels the task; returns the cancel that came meanwhile."""
        task = self._running.loop.create_task(work, name=f"undo of scope {self.number}", context=contextvars.Context())
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
        task.result()
        return cancelled

    async def _close(self) -> None:
        async with self._undoing:
            await self._settled(cancel=False)
            self._plan.close()
            await self._undo_selected("a step of unknown outcome")
        outer = None if self._outer is None else self._outer.nearest_open()
        if outer is not None:
            outer._plan.adopt(self._plan)
            outer._actions.update(self._actions)

    async def _unwind(self, reason: str, savepoint: Savepoint | None = None) -> None:
        async with self._undoing:
            await self._settled(cancel=True, savepoint=savepoint)
            self._plan.unwind(savepoint)
            await self._undo_selected(reason)

    async def _settled(self, cancel: bool, savepoint: Savepoint | None = None) -> None:
        """Wait until every open step's outcome is known: before that, nobody can say what must be undone."""
        while open_steps := self._plan.open_steps(savepoint):  # again: a task of the block may start more meanwhile
            if cancel:
                for number in open_steps:
                    self._running.cancel_step(number)
            # By way of wait(): a cancel of this task must not cancel the futures that the outcomes go to.
            await asyncio.wait([self._open_steps[number] for number in open_steps])

    async def _undo_selected(self, reason: str) -> None:
        if self._plan.finished:
            return
        instance = self._running
        instance.decide(CompensationStarted(self.number, reason, at_ms=instance.now_ms))
        while following := self._plan.next(self._parallel):
            await _all([self._undo(number) for number in following])
        instance.decide(CompensationEnded(self.number, at_ms=instance.now_ms))

    async def _undo(self, number: int) -> None:
        instance, action = self._running, self._actions[number]
        self._plan.started(number)
        seq = instance.next_sequence()
        instance.learn(action.undo)
        args = action.args if action.by_hand or instance.replaying else prepend(action.result, action.args)
        instance.decide(
            CompensationScheduled(
                seq, action.undo.name, args, number, self.number, action.undo.overrides, at_ms=instance.now_ms
            )
        )
        event = await instance.expect_step(seq)
        if isinstance(event, CompensationFailed):
            failure = Failure.from_row(event.failure)
            self._plan.failed(number, f"{failure.cause_type}: {failure.message}")
            # Stuck is a place: the run rests here until an operator acts on it.
            await instance.loop.create_future()
        assert isinstance(event, CompensationCompleted), "an undo ends with its own events"
        self._plan.undone(number)


async def _all(undos: Sequence[Any]) -> None:
    """Run all to their end; one that is stuck does not stop the others."""
    tasks = [asyncio.ensure_future(undo) for undo in undos]
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        task.result()


@contextmanager
def _refusing_the_past() -> Generator[None]:
    """What the plan refuses because of a pivot or an ended block is a mistake in the saga's code."""
    try:
        yield
    except (PivotPassed, ScopeClosed) as error:
        raise DefinitionError(f"{error}; nothing before undo.pivot() or after the block can be undone") from error


def compensating(parallel: bool = False) -> Scope:
    """A block whose steps are undone if it fails: newest first, or all at once with ``parallel=True``.

    ``async with compensating() as undo:`` gives the scope, for ``undo.add``, ``pivot``, ``savepoint``, ``keep``.
    """
    return Scope(parallel)
