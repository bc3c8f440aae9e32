"""One instance: applies facts to a saga's coroutines and collects the decisions they make.

Law: the only doors are ``activate`` (facts in, decisions out), ``replay`` (a history in, the same instance out) and
``ask`` (a query, which may only read). All facts of an activation are applied first, then the code runs until nothing
is ready: a cancel that arrives together with a completion is never lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import logging
import random
from _thread import get_ident
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from sagas.errors import CodecError, DefinitionError, NondeterminismError, QueryFailed, ReadOnlyError
from sagas.kernel.activity import Activity
from sagas.kernel.breaking import RUNNING, Blocked, BrokenOff, surface
from sagas.kernel.continuing import ContinueAsNew, asked_by
from sagas.kernel.events import (
    Activated,
    CallbackCompleted,
    CallbackFailed,
    CancelRequested,
    ChildCompleted,
    ChildFailed,
    ChildRefused,
    ChildStarted,
    CompensationCompleted,
    CompensationFailed,
    DeadLetterRedelivered,
    Decision,
    Event,
    MessageDelivered,
    MessageRefused,
    Patched,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunFailed,
    RunStarted,
    RunTimedOut,
    SignalDeadLettered,
    SignalReceived,
    StepCancelRequested,
    StepCompleted,
    StepFailed,
    StepScheduled,
    TimerCancelled,
    TimerFired,
    TimerSet,
    UpdateAccepted,
    UpdateReceived,
    same,
)
from sagas.kernel.failure import Failure, is_final, told
from sagas.kernel.handlers import Handler
from sagas.kernel.letters import Died, Letters, Mended, Place
from sagas.kernel.loop import InstanceLoop
from sagas.kernel.middleware import SagaRun, saga_chain
from sagas.kernel.refusals import Refused
from sagas.kernel.reserved import DEADLINE, PASSED, START
from sagas.kernel.saga import SagaType
from sagas.kernel.state import RunState
from sagas.kernel.updates import Received, Updates
from sagas.payloads import Signature, encode
from sagas.value import value

if TYPE_CHECKING:
    from sagas.kernel.callback import Callback
    from sagas.kernel.child import Child

log = logging.getLogger("sagas.saga")
D = TypeVar("D", bound=Decision)
Settled = StepCompleted | StepFailed | CompensationCompleted | CompensationFailed
Answered = MessageDelivered | MessageRefused


@value(frozen=True, slots=True)
class Activation:
    """What came of an activation: the decisions; or, and then they are void, why the run cannot go on.

    ``park``: until somebody acts. ``blocked``: here, as a codec is missing; another host may have it.
    ``facts`` are those to record: an update that was rejected (``rejected`` says why), or that came when the run had
    ended, is not among them. Without facts and decisions there is nothing to record.
    ``broken``: it did not come to rest, and may do better when it is tried again.
    """

    decisions: list[Event]
    park: str = ""
    blocked: str = ""
    facts: Sequence[Event] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)  # message id -> reason
    broken: bool = False


Learn = Callable[["Activity[..., Any] | SagaType"], None]
Code = Callable[[], Awaitable[Any]]
"""What begins when its task does: dropped before that, it leaves no coroutine that was never awaited."""


def _nothing(_called: Activity[..., Any] | SagaType) -> None:
    """Nobody wants to know which activities are called, and which children begun."""


class Instance:
    """A run of a saga, live in this process; rebuilt from its history anywhere else."""

    # What most runs never set stands here: up to 30 attributes of its own an instance costs 1.3 KB less.
    _stop: BaseException | None = None
    _closed = False
    _may_begin: asyncio.Future[None] | None = None  # of a run that is held back
    _early: RunCancelled | RunTimedOut | None = None  # how it is to end, since somebody or something asked
    _retriable: Failure | None = None  # what its code failed with, if that is worth another try
    _object: Any = None
    moved: list[Event] | None = None  # once its code has asked to continue: messages for the next run
    _cancelled_steps: frozenset[int] = frozenset()
    _updates: Updates | None = None  # since the first one came
    _recorded: Sequence[Event] = ()
    _position = 0  # index of the next event in the whole history, while replaying

    def __init__(self, saga_type: SagaType, learn: Learn = _nothing) -> None:
        self.saga_type = saga_type
        self.learn = learn
        self.state = RunState()
        # Abstract to typeshed only: what it does not define is refused by name (loop.py).
        self.loop = InstanceLoop(self)  # type: ignore[abstract]
        self.replaying = False
        self._decisions: list[Event] = []
        self.history_length = 0  # events up to the last fact that was applied; the same in every replay
        self._unapplied: list[Event] = []  # facts recorded while nothing ran (parked, paused, waiting for code)
        self._sequence = 0
        self._begun = False
        self._read_only = False
        self.activations = 0  # begun so far, queries too: tells one from the next (breaking.py)
        self.spoiled = False  # a query woke a task or made a future, which no replay would know of: drop this object
        self._started_by: RunStarted | None = None
        self.attributes: Mapping[str, Any] = {}  # as its code has set them
        self._main: asyncio.Task[Any] | None = None
        self._handlers: list[asyncio.Task[Any]] = []
        self._arriving: list[Event] = []  # messages whose handlers are tasks that have not begun
        self._applying: Sequence[Event] = ()  # the facts of this activation
        self._steps: dict[int, tuple[asyncio.Future[Any], Callable[[Settled], None] | None]] = {}
        self._messages: dict[int, asyncio.Future[Answered]] = {}
        self._children: dict[int, Child[Any]] = {}
        self._scopes: dict[asyncio.Future[None], asyncio.Task[Any] | None] = {}  # open ones, and whom to cancel
        self._conditions: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []

    # --- the doors

    def activate(self, facts: Iterable[Event], now_ms: int) -> Activation:
        """Apply ``facts``, run until nothing is ready, return the decisions; ``state`` has taken in all of them.

        A result with ``park`` or ``blocked`` leaves this object unusable: the caller records the facts and drops it.
        """
        facts = list(facts)
        self.history_length = self.state.events - len(self._unapplied)
        if self._updates is not None:
            self._updates.reset()
        self._run([*self._unapplied, *facts] if self._unapplied else facts, now_ms)
        if isinstance(self._stop, CodecError):
            return Activation([], blocked=str(self._stop), facts=facts)
        if self._stop is not None:
            broken = isinstance(self._stop, BrokenOff)
            return Activation([], self._park_reason(self._stop), facts=facts, broken=broken)
        if self._updates is not None and self._updates.came:
            return self._without_rejected(facts, now_ms)
        self._unapplied = []
        self.state.evolve_all((*facts, Activated(at_ms=now_ms), *self._decisions))
        return Activation(self._decisions, facts=facts)

    def _without_rejected(self, facts: Sequence[Event], now_ms: int) -> Activation:
        """The end of an activation to which updates had come."""
        assert self._updates is not None, "they have come"
        kept = self._updates.kept(facts)
        if kept or self._unapplied or self._decisions:
            self.state.evolve_all((*kept, Activated(at_ms=now_ms), *self._decisions))
        self._unapplied = []
        return Activation(self._decisions, facts=kept, rejected=self._updates.rejected)

    @classmethod
    def replay(cls, saga_type: SagaType, history: Sequence[Event], learn: Learn = _nothing) -> Instance:
        """The instance as it stood at the end of ``history``; ``learn`` is told of all it calls.

        Raises: NondeterminismError when the code asks for something else than is recorded; CodecError when what is
        recorded cannot be opened here; Blocked when it was broken off.
        """
        mended: frozenset[Place] = frozenset()
        while True:
            instance = cls(saga_type, learn)
            if mended:
                instance.letters.passed_over = mended
            try:
                instance._repeat_all(history)
            except Mended as found:
                instance.evict()
                mended |= {found.place}
            except BaseException:
                instance.evict()  # or the collector would run its coroutines' ``finally`` at some time, somewhere
                raise
            else:
                instance.state.evolve_all(history)
                return instance

    def _repeat_all(self, history: Sequence[Event]) -> None:
        self.replaying = True
        facts: list[Event] = []
        at, end = 0, len(history)
        while at < end:
            event = history[at]
            at += 1
            if type(event) is not Activated:
                facts.append(event)
                continue
            first = at
            while at < end and isinstance(history[at], Decision):
                at += 1
            self._repeat(facts, event.at_ms, history[first:at], first)
            facts = []
        self._unapplied = facts
        self.replaying = False

    def ask(self, name: str, args: bytes) -> bytes:
        """Answer query ``name``; nothing can change.

        Raises: QueryFailed when it is unknown, its arguments do not fit, or its handler raises.
        """
        handler = self._query(name)
        before, thread = (self.loop.ready, self.loop.numbered), get_ident()
        self.activations += 1
        try:
            positional, named = _fitting(name, handler.signature, args)
            with self.loop:
                self._read_only = True
                try:
                    RUNNING[thread] = self
                    return encode(contextvars.Context().run(handler.function, self._object, *positional, **named))
                finally:
                    RUNNING[thread] = None
                    self._read_only = False
                    surface()
        except BrokenOff as error:
            self.spoiled = True
            raise QueryFailed(name, type(error).__qualname__, told(self._stop or error)) from error
        except QueryFailed:
            raise
        except Exception as error:
            raise QueryFailed(name, type(error).__qualname__, told(error)) from error
        finally:
            self.spoiled = self.spoiled or (self.loop.ready, self.loop.numbered) != before

    def _query(self, name: str) -> Handler:
        """Raises: QueryFailed."""
        saga_type = self.saga_type
        handler = saga_type.handlers.get(("query", name))
        if handler is None and not saga_type.is_class:
            raise QueryFailed(name, "UnknownQuery", f"{saga_type.name} is a function: only a class saga has queries")
        if handler is None:
            known = sorted(n for kind, n in saga_type.handlers if kind == "query")
            raise QueryFailed(name, "UnknownQuery", f"{saga_type.name} has the queries {known}")
        if self._object is None:
            raise QueryFailed(name, "NotRunnable", f"{saga_type.name}.__init__ has made no object that could be asked")
        return handler

    def evict(self) -> None:
        """Let go of the coroutines. Their ``finally`` blocks can have no effect: every door is read-only by then."""
        self._read_only = True
        with self.loop:
            for task in self.loop.open_tasks():
                _close_quietly(task.get_coro())
        self.loop.close()
        self._steps.clear()
        self._messages.clear()
        self._children.clear()
        self._conditions.clear()

    # --- what saga code asks for (through the functions users call)

    def decide(self, decision: D) -> D:
        """Record a decision. While replaying: check it against the recorded one and return that."""
        if self._read_only:
            self.check_writable(f"cause {type(decision).__name__}")
        if not self.replaying:
            self._decisions.append(decision)
            return decision
        done = len(self._decisions)
        if done >= len(self._recorded):
            self._part("nothing more in this activation", decision.identity())
        recorded = self._recorded[done]
        if not same(recorded, decision):
            if self.pass_marks():
                return self.decide(decision)
            self._end_handler_of(recorded, decision)
            self._part(recorded.identity(), decision.identity())
        self._decisions.append(recorded)
        return cast("D", recorded)

    @property
    def position(self) -> int:
        """While replaying: the index of this activation's first decision in the history."""
        return self._position

    def recorded_rest(self) -> Sequence[Event]:
        """What the activation that is being replayed has recorded and not caused again yet."""
        return self._recorded[len(self._decisions) :] if self.replaying else ()

    def _end_handler_of(self, recorded: Event, instead: Decision) -> None:
        """The history holds that the handler which runs has raised by now: so it ends, whatever its code would do."""
        if type(recorded) is not SignalDeadLettered or not recorded.ran:
            return
        fact = self._signals.get(asyncio.current_task())
        if fact is not None and fact.message_id == recorded.message_id:
            numbers = (getattr(instead, name, 0) for name in ("step", "timer", "number"))
            self._sequence -= self._sequence in numbers  # drawn for what is not going to be
            self.letters.taken(fact, at_once=any(fact is each for each in self._applying))
            raise Died

    def recorded_step(self, activity: str) -> StepScheduled | None:
        """While replaying: the step, if the history says that one of this activity comes next."""
        done = len(self._decisions)
        recorded = self._recorded[done] if done < len(self._recorded) else None
        if type(recorded) is not StepScheduled or recorded.activity != activity or self._read_only:
            return None
        if recorded.step != self._sequence + 1:
            return None
        self._sequence += 1
        self._decisions.append(recorded)
        return recorded

    def check_writable(self, what: str) -> None:
        """Raises: ReadOnlyError inside a query, a predicate or an eviction."""
        if self._read_only:
            raise ReadOnlyError(f"a query, a predicate or a validator may only read: it tried to {what}")

    @functools.cached_property
    def letters(self) -> Letters:
        """Signals that no handler could take."""
        return Letters(self)

    @functools.cached_property
    def _signals(self) -> dict[asyncio.Task[Any] | None, SignalReceived]:
        """The tasks that handle signals."""
        return {}

    @functools.cached_property
    def callbacks(self) -> dict[int, Callback[Any]]:
        """Those that are not answered, by number."""
        return {}

    @functools.cached_property
    def patches(self) -> dict[str, bool]:
        """What ``patched`` has answered in this run."""
        return {}

    def pass_marks(self) -> bool:
        """Take in the marks of ``patched`` that are recorded at this place; returns whether there were any."""
        first = at = len(self._decisions)
        while at < len(self._recorded) and isinstance(mark := self._recorded[at], Patched):
            self.patches[mark.change_id] = True
            self._decisions.append(mark)
            at += 1
        return at > first

    @functools.cached_property
    def random(self) -> random.Random:
        """The run's own dice. Made when first wanted: they take 2.5 KB, and millions of runs never throw them."""
        return random.Random(self.started.seed or self.started.run_id)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """User code that may only read runs within."""
        self._read_only = True
        try:
            yield
        finally:
            self._read_only = False

    def stop(self, error: BaseException) -> None:
        """Void the activation: the run is to be parked with ``error`` as its reason."""
        self._stop = self._stop or error

    @property
    def target(self) -> Any:
        """The object of a class saga; None before it was made, and of a function."""
        return self._object

    def start_handler(self, coroutine: Coroutine[Any, Any, None], name: str, context: contextvars.Context) -> None:
        """Run a message's handler as a task; the run does not return before it has ended."""
        self._handlers = [task for task in self._handlers if not task.done()]
        self._handlers.append(self.loop.create_task(coroutine, name=name, context=context))

    @property
    def has_unapplied(self) -> bool:
        """Whether facts are recorded that its code has not seen."""
        return bool(self._unapplied)

    @property
    def awaits_condition(self) -> bool:
        """Whether code stands in a ``wait_until``."""
        return bool(self._conditions)

    @property
    def started(self) -> RunStarted:
        """The fact the run began with."""
        assert self._started_by is not None, "no code runs before RunStarted"
        return self._started_by

    def next_sequence(self) -> int:
        """The next number of a step, timer, message or scope; the same in every replay.

        Raises: ReadOnlyError, before one is used up: a number that only a query drew would be missing in every replay.
        """
        if self._read_only:
            self.check_writable("start a step, a timer, a message or a scope")
        self._sequence += 1
        return self._sequence

    @property
    def now_ms(self) -> int:
        """The run's clock."""
        return self.loop.now_ms

    def set_timer(self, due_ms: int) -> int:
        """A durable timer; the loop runs its callback when it has fired."""
        seq = self.next_sequence()
        self.decide(TimerSet(seq, due_ms, at_ms=self.now_ms))
        return seq

    @property
    def read_only(self) -> bool:
        """Whether nothing may be caused now: a query is answered, or the instance is being dropped."""
        return self._read_only

    def cancel_timer(self, seq: int) -> None:
        """The code gave a timer up (nothing is recorded while the instance is being dropped)."""
        if not self._read_only:
            self.decide(TimerCancelled(seq, at_ms=self.now_ms))

    def expect_step(self, seq: int, settle: Callable[[Settled], None] | None = None) -> asyncio.Future[Any]:
        """A future of the step's final event; ``settle`` hears of it first, also when nobody awaits it any more."""
        # Not a numbered one: its one caller awaits it in place, and on asyncio's own class tasks have a shorter way.
        future: asyncio.Future[Any] = asyncio.Future(loop=self.loop)
        self._steps[seq] = (future, settle)
        return future

    def cancel_step(self, seq: int) -> None:
        """Ask for a step to be cancelled, once, if it is still open."""
        if seq in self._steps and seq not in self._cancelled_steps and not self._read_only:
            self._cancelled_steps |= {seq}
            self.decide(StepCancelRequested(seq, at_ms=self.now_ms))

    def expect_answer(self, seq: int) -> asyncio.Future[Answered]:
        """A future of what the target's door says to a message."""
        future = self._messages[seq] = self.loop.create_future()
        return future

    def expect_child(self, child: Child[Any]) -> None:
        """From now on it hears what becomes of the saga it stands for."""
        self._children[child.number] = child

    def expect_condition(self, predicate: Callable[[], Any]) -> asyncio.Future[Any]:
        """A future that is done once ``predicate`` is true (or raises) while the instance is at rest."""
        future = self.loop.create_future()
        self._conditions.append((predicate, future))
        return future

    def check_condition(self, predicate: Callable[[], Any], future: asyncio.Future[Any]) -> bool:
        """Look once; a predicate that raises, raises in its waiter. Returns whether the future is done now."""
        if not future.done():
            self._read_only = True
            try:
                true = bool(predicate())
            except StopIteration as error:  # which no future can hold (PEP 479)
                future.set_exception(RuntimeError(f"the predicate raised {error!r}"))
            except (Exception, asyncio.CancelledError) as error:
                future.set_exception(error)
            else:
                if true:
                    future.set_result(True)
            finally:
                self._read_only = False
        return future.done()

    def parks_on(self, error: BaseException) -> bool:
        """Whether ``error`` would park this run instead of failing it."""
        return self.saga_type.parks_on(error)

    @property
    def in_run(self) -> bool:
        """Whether the code that runs is that of ``run``, and not a handler's, or another task's."""
        return self._main is not None and asyncio.current_task() is self._main

    def move_messages(self) -> None:
        """The run is about to be followed by another one: what no handler has begun to handle is for that one."""
        if self.moved is None:
            left = [*self._arriving, *(() if self._updates is None else self._updates.leave())]
            self.moved = [fact for fact in self._applying if any(fact is each for each in left)]

    def record(self, facts: Sequence[Event]) -> None:
        """Take in facts that are written before any code sees them; the next activation applies them."""
        self.state.evolve_all(facts)
        self._unapplied = [*self._unapplied, *facts]

    def enter_scope(self) -> asyncio.Future[None]:
        """The running task entered a block with undos; the run does not end before it has left it."""
        left = self.loop.create_future()
        self._scopes[left] = asyncio.current_task()
        return left

    def leaving_scope(self, left: asyncio.Future[None]) -> None:
        """It is on its way out: nobody needs to cancel it."""
        if left in self._scopes:
            self._scopes[left] = None

    def left_scope(self, left: asyncio.Future[None]) -> None:
        """It has left the block, and all that had to be undone is."""
        self._scopes.pop(left, None)
        if not left.done():
            left.set_result(None)

    def cancel_later(self) -> None:
        """The run was told to end while its code was undoing for another reason: deliver it at the next await."""
        if self._early is not None and self._main is not None and asyncio.current_task() is self._main:
            self._main.cancel(self._early.reason)

    async def park(self, error: BaseException) -> NoReturn:
        """Stop here: the activation is void, and the run is parked with ``error`` as its reason. Never returns."""
        self._stop = self._stop or error
        await self.loop.create_future()
        raise AssertionError("a parked run went on")

    def hold(self, error: CodecError) -> None:
        """Stop here: the activation is void, and the run waits for a host that can open what it needs."""
        self._stop = self._stop or error

    def refuse(self, what: str) -> NoReturn:
        """Saga code asked for something it can never have; logged too, as code that catches it may keep it to itself.

        Raises: Refused, always.
        """
        if not self.replaying and not self._read_only:
            log.warning("%s", what)
        raise Refused(what)

    def background_error(self, context: dict[str, Any]) -> None:
        """Something nobody awaits failed; said once, not at every replay."""
        if not self.replaying and not self._read_only and not isinstance(context.get("exception"), BrokenOff):
            log.warning("%s: %s", context.get("message", "error in the background"), context.get("exception"))

    # --- running

    def _run(self, facts: Sequence[Event], now_ms: int) -> None:
        self._decisions = []
        loop, thread = self.loop, get_ident()
        loop.now_ms = max(now_ms, loop.now_ms)
        self._applying = facts
        self.activations += 1
        with loop:
            try:
                try:
                    RUNNING[thread] = self
                    for fact in facts:
                        self.history_length += 1
                        apply = _APPLY.get(type(fact))
                        if apply is not None and not self._closed:
                            apply(self, fact)
                    if self._updates is None or not self._updates.all_rejected(facts):  # else nothing is there to run
                        loop.run_until_idle(self._settled, self._stopped)
                finally:
                    RUNNING[thread] = None  # first of all: see breaking.py
                    surface()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit too: what one saga does never ends its host
                self._stop = self._stop or error
        self._applying = ()

    def _repeat(self, facts: Sequence[Event], now_ms: int, recorded: Sequence[Event], position: int) -> None:
        self._recorded, self._position, self.history_length = recorded, position, position - 1 - len(facts)
        self._run(facts, now_ms)
        if isinstance(self._stop, NondeterminismError | CodecError | Blocked | Mended):
            raise self._stop
        if self._stop is not None:
            self._part(
                recorded[0].identity() if recorded else "no decision", f"{type(self._stop).__name__}: {self._stop}"
            )
        self.pass_marks()
        if len(self._decisions) < len(recorded):
            self._part(recorded[len(self._decisions)].identity(), "nothing")

    def _part(self, expected: str, found: str) -> NoReturn:
        # Kept as well as raised: saga code that catches every Exception must not swallow it. The first one counts.
        error = NondeterminismError(self._position + len(self._decisions), expected, found)
        self._stop = self._stop or error
        raise error

    def _stopped(self) -> bool:
        return self._stop is not None or self._closed

    def _settled(self) -> bool:
        """Wake whoever waits for a condition that has come true; True when nobody was woken."""
        if not self._conditions:
            return True
        waiting = [
            (predicate, future) for predicate, future in self._conditions if not self.check_condition(predicate, future)
        ]
        woken = len(waiting) < len(self._conditions)
        self._conditions = waiting
        return not woken

    def _park_reason(self, error: BaseException) -> str:
        return f"{type(error).__qualname__}: {told(error)}"

    # --- applying facts

    def _start(self, fact: RunStarted) -> None:
        self._started_by, self.attributes = fact, fact.attributes
        context = contextvars.Context()
        try:
            args, kwargs = self.saga_type.arguments.decode(fact.args)
            code: Code = functools.partial(self.saga_type.target, *args, **kwargs)
            if self.saga_type.is_class:
                self._object = context.run(code)
                code = self._object.run
        except Exception as error:
            code = functools.partial(_raising, error)
        if fact.not_before_ms:
            self._may_begin = self.loop.create_future()
        self._main = self.loop.create_task(self._drive(code), name="run", context=context)

    async def _drive(self, code: Code) -> None:
        """Run the saga to its end and decide how it ended."""
        if self._may_begin is not None:
            await self._may_begin
        self._begun = True
        if self._early is not None:
            # Cancelled before its first line: it leaves no step behind.
            return self._close(self._early)
        end = await self._end_of(code)
        await self._leave_scopes()
        if isinstance(end, RunContinued) and self._early is not None:
            end = self._early  # which came while scopes were left, and is not the next run's to obey
        return self._close(end)

    def _surrounded(self, code: Code) -> Awaitable[Any]:
        async def last(_run: SagaRun) -> Any:
            return await code()

        started = self.started
        return saga_chain.around(last)(SagaRun(type=started.type, id=started.id, run_id=started.run_id))

    async def _end_of(self, code: Code) -> Decision:
        try:
            asked, result = None, b""
            try:
                result = encode(await (self._surrounded(code) if saga_chain else code()))
                if self.moved is not None:
                    raise DefinitionError("continue_as_new() was caught: catch Exception, never BaseException")
            except (ContinueAsNew, BaseExceptionGroup) as error:
                asked = asked_by(error)
                if asked is None:
                    raise
            await self._finish_handlers()
            return RunCompleted(result) if asked is None else asked.end()
        except asyncio.CancelledError as error:
            return self._early or self._failed(error)
        except (Exception, SystemExit) as error:
            if self.parks_on(error):
                await self.park(error)
            return self._failed(error)

    def _failed(self, error: BaseException) -> RunFailed:
        failure, retry = Failure.of(error), self.saga_type.retry
        if retry is not None and not is_final(error, retry.fatal):
            self._retriable = failure
            self.move_messages()
        return RunFailed(failure.row())

    @property
    def retriable(self) -> Failure | None:
        """What its code failed with, if that is worth another try, and nobody has asked it to end."""
        return None if self._early is not None else self._retriable

    async def _finish_handlers(self) -> None:
        """What came before the end is not cut short by it, nor left undone."""
        if self._updates is not None:
            self._updates.begin_now()
        while open_handlers := [task for task in self._handlers if not task.done()]:
            await asyncio.wait(open_handlers)
            if self._updates is not None:
                self._updates.begin_now()

    async def _leave_scopes(self) -> None:
        """What other tasks do in a block is undone before the run ends (``gather`` leaves them behind)."""
        while self._scopes:
            for left, task in list(self._scopes.items()):
                if task is not None and (task.done() or task is self._main):
                    del self._scopes[left]  # entered by hand and never left: nobody can leave it now
                elif task is not None:
                    task.cancel("the run has ended")
                    self._scopes[left] = None
            if self._scopes:
                # The first end counts: a cancel that comes now changes nothing any more.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait(list(self._scopes), return_when=asyncio.FIRST_COMPLETED)

    def _close(self, decision: Decision) -> None:
        self.decide(replace(decision, at_ms=self.now_ms))
        self._closed = True

    def _cancel(self, fact: CancelRequested) -> None:
        self._end_early(RunCancelled(fact.reason), fact.reason)

    def _end_early(self, end: RunCancelled | RunTimedOut, reason: str) -> None:
        """The code is cancelled where it stands; of several ends the first one asked for counts."""
        if self._main is not None and not self._main.done():
            self._early = self._early or end
            if self._begun:
                self._main.cancel(reason)
            else:
                self._begin()

    def _begin(self) -> None:
        if self._may_begin is not None and not self._may_begin.done():
            self._may_begin.set_result(None)

    def _update(self, fact: Received) -> None:
        if self._updates is None:
            self._updates = Updates(self)
        recorded = self.replaying or any(fact is each for each in self._unapplied)
        if self.moved is None:
            self._updates.take(fact, is_new=not recorded)
        else:
            self._updates.put_off(fact, is_new=not recorded)
            self.moved.append(fact)

    def _fire(self, fact: TimerFired) -> None:
        if fact.timer == DEADLINE:
            self._end_early(RunTimedOut(PASSED), PASSED)
        elif fact.timer == START:
            self._begin()
        else:
            self.loop.fire(fact.timer)

    def _settle(self, fact: Settled) -> None:
        future, settle = self._steps.pop(fact.step, (None, None))
        if settle is not None:
            settle(fact)
        if future is not None and not future.done():
            future.set_result(fact)

    def _answer(self, fact: Answered) -> None:
        future = self._messages.pop(fact.number, None)
        if future is not None and not future.done():
            future.set_result(fact)

    def _child_started(self, fact: ChildStarted) -> None:
        if (child := self._children.get(fact.number)) is not None:
            child.started()

    def _child_ended(self, fact: ChildRefused | ChildCompleted | ChildFailed) -> None:
        if (child := self._children.pop(fact.number, None)) is not None:
            child.ended(fact)

    def _called_back(self, fact: CallbackCompleted | CallbackFailed) -> None:
        if (callback := self.callbacks.pop(fact.number, None)) is not None:
            callback.answered(fact)

    def _signal(self, fact: SignalReceived) -> None:
        if self.moved is not None:
            self.moved.append(fact)
            return None
        if self.replaying and self.letters.lies(fact):
            return self.letters.keep(fact, "", ran=False)
        handler = self.saga_type.handlers.get(("signal", fact.name))
        if handler is None:
            return self.letters.keep(fact, f"{self.saga_type.name} has no signal {fact.name!r}", ran=False)
        try:
            args, kwargs = handler.signature.decode(fact.args)
        except Exception as error:  # undecodable, or arguments that do not fit
            return self.letters.keep(fact, told(error), ran=False)
        if self._object is None:
            return self.letters.keep(fact, f"{self.saga_type.name}.__init__ failed", ran=False)
        # A context of its own: what a handler does belongs to no scope of the code it interrupts.
        context = contextvars.Context()
        code = functools.partial(handler.function, self._object, *args, **kwargs)
        if inspect.iscoroutinefunction(handler.function):
            self._arriving.append(fact)
            return self.start_handler(self._handle(fact, code), f"signal {fact.name}", context)
        try:
            context.run(code)
        except Exception as error:
            self._handler_failed(fact, error)
        else:
            if self.replaying:
                self.letters.taken(fact, at_once=True)
        return None

    async def _handle(self, fact: SignalReceived, code: Code) -> None:
        if self.moved is not None:
            return  # it goes to the next run: this handler had not begun
        self._arriving = [each for each in self._arriving if each is not fact]
        task = asyncio.current_task()
        self._signals[task] = fact
        try:
            await code()
            if self.replaying:
                self.letters.taken(fact, at_once=any(fact is each for each in self._applying))
        except Died:
            return
        except Mended as mended:
            self.stop(mended)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if self.parks_on(error):
                await self.park(error)
            self._handler_failed(fact, error)
        finally:
            self._signals.pop(task, None)

    def _handler_failed(self, fact: SignalReceived, error: Exception) -> None:
        if self.parks_on(error):
            self._stop = self._stop or error
        else:
            self.letters.keep(fact, f"{type(error).__qualname__}: {told(error)}", ran=True)

    def _redelivered(self, fact: DeadLetterRedelivered) -> None:
        if (letter := self.letters.take(fact)) is not None:
            self._signal(letter)


def _fitting(name: str, signature: Signature, args: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A query's arguments. Raises: QueryFailed, which says what it takes; CodecError."""
    try:
        return signature.decode(args)
    except CodecError:
        raise
    except Exception as error:
        raise QueryFailed(name, type(error).__qualname__, f"{told(error)}; it takes {signature}") from error


async def _raising(error: Exception) -> NoReturn:
    raise error


def _close_quietly(coroutine: Any) -> None:
    try:
        coroutine.close()
    except BaseException as error:  # whatever user code raises while it is being dropped has no reader
        log.debug("while an instance was dropped: %r", error)


_APPLY: dict[type[Event], Callable[[Instance, Any], None]] = {
    RunStarted: Instance._start,
    CancelRequested: Instance._cancel,
    SignalReceived: Instance._signal,
    DeadLetterRedelivered: Instance._redelivered,
    UpdateReceived: Instance._update,
    UpdateAccepted: Instance._update,
    TimerFired: Instance._fire,
    StepCompleted: Instance._settle,
    StepFailed: Instance._settle,
    CompensationCompleted: Instance._settle,
    CompensationFailed: Instance._settle,
    MessageDelivered: Instance._answer,
    MessageRefused: Instance._answer,
    ChildStarted: Instance._child_started,
    ChildRefused: Instance._child_ended,
    ChildCompleted: Instance._child_ended,
    ChildFailed: Instance._child_ended,
    CallbackCompleted: Instance._called_back,
    CallbackFailed: Instance._called_back,
}
