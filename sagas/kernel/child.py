"""Child sagas: ``sagas.child(other_saga, ...)`` begins another saga, whose end can be awaited.

Law: a start is a decision like a step. It leaves with the commit that records it, for a run whose id follows from the
parent's run and the number of the decision: begun again after a crash, it is the same run. Its end comes back as a
fact, in a message that leaves with the commit in which it closes. Nothing that dies on either side loses one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, TypeVarTuple, cast, overload

from sagas.errors import (
    InvalidArgument,
    SagaAlreadyStarted,
    SagaCancelled,
    SagaClosed,
    SagaError,
    SagaFailed,
    SagaTerminated,
    SagaTimedOut,
)
from sagas.ids import MAX_ID_BYTES, check_id
from sagas.kernel.current import current
from sagas.kernel.events import (
    ABANDON_CHILD,
    CANCEL,
    CANCEL_CHILD,
    SIGNAL,
    TERMINATE_CHILD,
    ChildCompleted,
    ChildFailed,
    ChildRefused,
    ChildScheduled,
)
from sagas.kernel.failure import Failure
from sagas.kernel.handlers import handler_args, handler_name
from sagas.kernel.outgoing import NO_ARGS, delivered, send
from sagas.kernel.saga import RunsTo, saga_type_of
from sagas.payloads import decode

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")
OnParentClose = Literal["terminate", "cancel", "abandon"]
"""What becomes of a child that still runs when its parent ends."""
Ended = ChildRefused | ChildCompleted | ChildFailed

_POLICIES: Final = (TERMINATE_CHILD, CANCEL_CHILD, ABANDON_CHILD)
_ENDS: Final = {"cancelled": SagaCancelled, "timed_out": SagaTimedOut, "terminated": SagaTerminated}


class Child(Coroutine[Any, Any, R_co]):
    """A saga that another one has begun; made by ``sagas.child``, in a saga.

    ``await child`` waits for its end (of a chain of runs, that of the last): returns its result, or raises SagaFailed,
    SagaCancelled, SagaTimedOut, SagaTerminated, or SagaAlreadyStarted when its id was taken. It may be awaited more
    than once, also by ``gather``, ``wait``, ``wait_for`` and in tasks. A task that is cancelled while it waits asks the
    child to cancel (unless it is to be abandoned) and goes on at once with CancelledError, as asyncio does everywhere:
    it does not wait until the child has undone what it did; ``asyncio.shield`` lets the child alone.
    """

    __slots__ = (
        *("_called_off", "_end", "_instance", "_is_started", "_policy", "_returns", "_waiters", "_waits"),
        *("id", "number"),
    )

    def __init__(self, instance: Instance, scheduled: ChildScheduled, returns: object) -> None:
        self.id = scheduled.id
        self.number = scheduled.number
        self._instance = instance
        self._policy = scheduled.on_parent_close
        self._returns = returns
        self._is_started = False
        self._called_off = False
        self._end: Ended | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._waits: dict[asyncio.Task[Any] | None, Coroutine[Any, Any, R_co]] = {}

    # --- the user's calls

    async def signal(self, signal: Callable[[Any, *Ts], Any] | str, *args: *Ts) -> None:
        """Send it a signal; returns once that is durable, whether or not it runs.

        Raises: SagaAlreadyStarted when its id was taken, SagaClosed when it has ended; ArgumentMismatch, PayloadError
        and InvalidArgument, when nothing was sent.
        """
        await self._tell(SIGNAL, handler_name(signal, "signal"), handler_args(signal, args))

    async def cancel(self, reason: str = "") -> None:
        """Ask it to cancel; returns once that is durable: await the child for its end.

        Raises: SagaAlreadyStarted when its id was taken, SagaClosed when it has ended.
        """
        if not isinstance(reason, str):
            raise InvalidArgument(f"the reason of a cancel is text, not {reason!r}")
        await self._tell(CANCEL, "", NO_ARGS, reason)

    async def _tell(self, kind: str, name: str, args: bytes, reason: str = "") -> None:
        while not self._is_started and self._end is None:
            await self._news()
        if isinstance(self._end, ChildRefused):
            raise self._taken(self._end)
        if self._end is not None:
            raise SagaClosed(self.id, self._end.status if isinstance(self._end, ChildFailed) else "completed")
        sent = send(self._instance, self.id, kind, name=name, args=args, reason=reason, child=self.number)
        await delivered(self._instance, sent)

    async def _result(self) -> R_co:
        try:
            while self._end is None:
                await self._news()
        except asyncio.CancelledError as error:
            self._call_off(error)
            raise
        match self._end:
            case ChildCompleted(result=result):
                return cast("R_co", decode(result, self._returns))
            case ChildFailed(status="failed", failure=row):
                failure = Failure.from_row(row)
                raise SagaFailed(self.id, failure.cause_type, failure.words) from failure.declared()
            case ChildFailed(status=status, reason=reason):
                raise _ENDS[status](self.id, reason)
            case ChildRefused():
                raise self._taken(self._end)

    def _taken(self, refused: ChildRefused) -> SagaError:
        return SagaAlreadyStarted(self.id, refused.run_id, refused.status)

    def _call_off(self, cancel: asyncio.CancelledError) -> None:
        """Whoever waited was cancelled: ask the child to cancel too, once."""
        over = self._called_off or self._end is not None or self._policy == ABANDON_CHILD
        if not over and not self._instance.read_only:
            self._called_off = True
            reason = str(cancel) or "its parent does not wait for it any more"
            send(self._instance, self.id, CANCEL, args=NO_ARGS, reason=reason, child=self.number)

    # --- what its instance tells it

    def started(self) -> None:
        """Its start is durable."""
        self._is_started = True
        self._wake()

    def ended(self, end: Ended) -> None:
        """It has ended, or there never was one."""
        self._end = end
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def _news(self) -> None:
        # A future a wait: one that was cancelled must not take the others with it.
        waiter = self._instance.loop.create_future()
        self._waiters.append(waiter)
        await waiter

    # --- a coroutine to asyncio, one for each task that is made of it

    def __await__(self) -> Generator[Any, Any, R_co]:
        return self._result().__await__()

    def send(self, value: Any) -> Any:
        return self._driven(lambda wait: wait.send(value))

    def throw(self, *error: Any) -> Any:
        if asyncio.current_task() not in self._waits and isinstance(error[0], asyncio.CancelledError):
            self._call_off(error[0])  # the task was cancelled before it began to wait
        return self._driven(lambda wait: wait.throw(*error))

    def close(self) -> None:
        while self._waits:
            self._waits.popitem()[1].close()

    def _driven(self, drive: Callable[[Coroutine[Any, Any, R_co]], Any]) -> Any:
        task = asyncio.current_task()
        wait = self._waits.pop(task, None) or self._result()
        waiting_for = drive(wait)
        self._waits[task] = wait  # not reached when it has ended
        return waiting_for

    def __repr__(self) -> str:
        return f"<child {self.number}: saga {self.id!r}>"


@overload
def child(
    saga: Callable[[*Ts], RunsTo[R]],
    /,
    *args: *Ts,
    id: str | None = None,
    on_parent_close: OnParentClose = "terminate",
) -> Child[R]: ...
@overload
def child(
    saga: Callable[[*Ts], Awaitable[R]],
    /,
    *args: *Ts,
    id: str | None = None,
    on_parent_close: OnParentClose = "terminate",
) -> Child[R]: ...
def child(  # type: ignore[misc]  # mypy does not match *args: Any with *args: *Ts
    saga: Callable[..., Any],
    /,
    *args: Any,
    id: str | None = None,
    on_parent_close: OnParentClose = "terminate",
) -> Child[Any]:
    """Begin another saga, at once and durably; ``await`` what it returns for the end.

    ``id``: else one that follows from this run. A run of that id that goes on refuses the child (SagaAlreadyStarted,
    where it is awaited); one that has ended does not.
    ``on_parent_close``: what becomes of it if it still runs when this run ends, however that comes: "terminate" ends it
    at once, "cancel" asks it to cancel, "abandon" leaves it alone; one that was asked to cancel before is left to its
    undoing. In ``compensating()`` a child has no undo by itself: add one with ``undo.add``, or cancel it.
    Raises: InvalidArgument, ArgumentMismatch, PayloadError, when nothing was begun; NotInSaga.
    """
    instance = current("sagas.child()")
    saga_type = saga_type_of(saga)
    if on_parent_close not in _POLICIES:
        raise InvalidArgument(f"on_parent_close is one of {', '.join(map(repr, _POLICIES))}, not {on_parent_close!r}")
    if id is not None and check_id(id) == instance.started.id:
        raise InvalidArgument(f"saga {id!r} tried to begin a child of its own id: give it another")
    encoded = saga_type.arguments.encode(args, {})
    instance.learn(saga_type)
    number = instance.next_sequence()
    run_id = child_run_id(instance.started.run_id, number)
    child_id = _default_id(instance.started.id, number, run_id) if id is None else id
    scheduled = instance.decide(
        ChildScheduled(number, child_id, run_id, saga_type.name, encoded, on_parent_close, at_ms=instance.now_ms)
    )
    made: Child[Any] = Child(instance, scheduled, saga_type.returns)
    instance.expect_child(made)
    return made


def child_run_id(run_id: str, number: int) -> str:
    """The run that decision ``number`` of a run begins; the same however often it is begun."""
    return hashlib.blake2b(f"{run_id}/{number}".encode(), digest_size=16).hexdigest()


def _default_id(parent: str, number: int, run_id: str) -> str:
    """Tells its parent; another run of that parent has other children."""
    named = f"{parent}-{number}-{run_id[:8]}"
    return named if len(named.encode()) <= MAX_ID_BYTES else run_id
