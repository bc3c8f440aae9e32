"""A handle: one instance as a client holds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, TypeVarTuple, cast, overload

from sagas.access import Access
from sagas.calls import call_message_id, client_calls
from sagas.deleting import delete
from sagas.description import Description
from sagas.engine.message import Cancel, Message, Pause, Redeliver, Resume, Signal, Terminate, encode_message
from sagas.forking import fork, reset
from sagas.kernel.chain import goes_on_in
from sagas.kernel.duration import Duration
from sagas.kernel.events import Event
from sagas.kernel.handlers import MARK, Handler, handler_args, handler_name
from sagas.kernel.saga import SagaType
from sagas.letters import DeadLetter, chosen, letters_of
from sagas.payloads import decode
from sagas.store.port import Admission, Admitted
from sagas.telemetry.caller import current_traceparent
from sagas.updating import UpdateCall

R = TypeVar("R")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")


@client_calls("send")
class Handle(Generic[R]):
    """One instance. From ``start()`` it means the chain of runs that began there; from ``client.get()`` the latest run.

    ``run_id`` is the run that began the chain; ``client.get(id, run_id=...)`` means one run of it alone.
    """

    def __init__(
        self, access: Access, id: str, run_id: str | None, saga_type: SagaType | None, *, follows: bool = False
    ) -> None:
        self.id = id
        self.run_id = run_id
        self._follows = follows
        self._latest = run_id  # that took a message
        self._access = access
        self._saga_type = saga_type

    async def signal(self, signal: Callable[[Any, *Ts], Any] | str, *args: *Ts, message_id: str | None = None) -> None:
        """Send a signal; returns once it is durable.

        ``message_id``: the same id is taken once (remembered at least 24 h). Raises: SagaNotFound, SagaClosed,
        ArgumentMismatch, Overloaded, StoreUnavailable.
        """
        name = handler_name(signal, "signal")
        message = Signal(
            message_id=call_message_id(message_id),
            trace=current_traceparent(),
            name=name,
            args=handler_args(signal, args),
        )
        await self.send(message)

    async def query(self, query: Callable[[Any, *Ts], R_co] | str, *args: *Ts) -> R_co:
        """Ask a query of the instance's present state (of an ended one, its last).

        Raises: QueryFailed (unknown, raised, or no host answered), SagaNotFound.
        """
        name = handler_name(query, "query")
        value = await self._access.ask(self.id, name, handler_args(query, args))
        returns = Any if isinstance(query, str) else cast("Handler", getattr(query, MARK)).signature.returns
        return cast("R_co", decode(value, returns))

    @overload
    async def update(
        self,
        update: Callable[[Any, *Ts], Awaitable[T]],
        *args: *Ts,
        message_id: str | None = None,
        timeout: Duration | None = None,
    ) -> T: ...
    @overload
    async def update(
        self,
        update: Callable[[Any, *Ts], T],
        *args: *Ts,
        message_id: str | None = None,
        timeout: Duration | None = None,
    ) -> T: ...
    @overload
    async def update(
        self, update: str, *args: Any, message_id: str | None = None, timeout: Duration | None = None
    ) -> Any: ...
    async def update(  # type: ignore[misc]  # mypy does not match *args: Any with *args: *Ts
        self,
        update: Callable[..., Any] | str,
        *args: Any,
        message_id: str | None = None,
        timeout: Duration | None = None,
    ) -> Any:
        """Send an update and wait for what its handler returns.

        ``message_id``: the same id is one update, however often and from wherever it is sent; each sender gets its
        outcome, also after a crash, and after the run has ended. Raises: UpdateRejected (by its validator, or because
        there is no such update; nothing is left of it), UpdateFailed (its handler raised), SagaNotFound, SagaClosed
        (also when the run ends before the update has), ArgumentMismatch, Overloaded, StoreUnavailable; TimeoutError
        when ``timeout`` passes first (the update goes on: send it again with its id to wait on).
        """
        call = UpdateCall(
            message_id=call_message_id(message_id),
            name=handler_name(update, "update"),
            args=handler_args(update, args),
            trace=current_traceparent(),
        )
        value = await self._access.update(self.id, self._latest, call, timeout, follow=self._follows)
        return decode(value, Any if isinstance(update, str) else getattr(update, MARK).signature.returns)

    async def result(self, timeout: Duration | None = None) -> R:
        """Wait for the end of the run, and of those that follow it.

        Returns its result. Raises: SagaFailed, SagaCancelled, SagaTimedOut, SagaTerminated; SagaParked (may be asked
        again); TimeoutError when ``timeout`` passes first; SagaNotFound.
        """
        value = await self._access.result(self.id, self.run_id, timeout, follow=self._follows)
        return cast("R", decode(value, Any if self._saga_type is None else self._saga_type.returns))

    async def cancel(self, reason: str = "") -> None:
        """Ask the run to cancel: ``CancelledError`` at its current await, open scopes undone."""
        await self.send(Cancel(message_id=call_message_id(None), reason=reason))

    async def terminate(self, reason: str = "") -> None:
        """End the run at once: no code runs, nothing is undone."""
        await self.send(Terminate(message_id=call_message_id(None), reason=reason))

    async def pause(self, by: str = "") -> None:
        """Run no code of it until ``resume()``; messages and results are still recorded."""
        await self.send(Pause(message_id=call_message_id(None), by=by))

    async def resume(self, by: str = "") -> None:
        """Let a paused run, or a parked one whose cause is gone, go on."""
        await self.send(Resume(message_id=call_message_id(None), by=by))

    async def fork(self, *, event: int, id: str | None = None) -> Handle[R]:
        """Start another run that goes on from event ``event`` of this one's history, on the code there is now.

        ``event`` is an index of ``history()``; the run begins with what stands up to there, cut after the last
        transition that is whole. ``id``: else a random one. This run is not touched. The new one throws the same dice
        and goes on with the same step numbers and due times; its run id is another, and so are the idempotency keys of
        its steps: those open at the cut are made again, and ``undo_of`` names keys of the new run. A timeout begins
        anew. Code that does not fit the history parks it.
        Raises: InvalidArgument for an event that is not there, before the end of the first transition or after the
        run's end, a message, child, update or callback that is open at the cut, or more than 8 MB; SagaAlreadyStarted,
        SagaNotFound, Overloaded, StoreUnavailable.
        """
        new_id, new_run = await fork(self._access, self.id, self.run_id, event, id, follows=self._follows)
        return Handle(self._access, new_id, new_run, self._saga_type, follows=True)

    async def reset(self, *, event: int) -> Handle[R]:
        """``fork`` under the same id: a run that goes on is terminated first, "reset", and the new one takes its place.

        Also of a child: its parent hears of the new run's end alone, unless it was told of this one's before.
        """
        new_run = await reset(self._access, self.id, self.run_id, event, follows=self._follows)
        return Handle(self._access, self.id, new_run, self._saga_type, follows=True)

    async def describe(self) -> Description:
        """Its status, and what it waits for. Raises: SagaNotFound."""
        return await self._access.describe(self.id, self.run_id, follow=self._follows)

    async def history(self) -> list[Event]:
        """Every event of the run so far. Raises: SagaNotFound, HistoryError."""
        return await self._access.history(self.id, self.run_id, follow=self._follows)

    async def delete(self) -> None:
        """Remove the instance, which must have ended, for good: every run of this id, with all that is stored of it.

        Returns once that is done; the id is free then, as if it had never been. Raises: SagaNotFound, SagaRunning,
        TimeoutError when no host carries it out (one that comes up later does), StoreUnavailable.
        """
        await delete(self._access, self.id)

    async def dead_letters(self) -> list[DeadLetter]:
        """Signals of the run that no handler could take, the oldest first. Raises: SagaNotFound, HistoryError."""
        return letters_of(await self.history())

    async def redeliver(self, letter: str | int | None = None, *, by: str = "") -> int:
        """Have a dead letter (its message id, or its place in ``dead_letters()``) applied again; None: all there are.

        For code that has learned to take it. Returns how many, once that is durable; one that no handler can take
        this time either dies again. Raises: InvalidArgument when there is none such; SagaNotFound, SagaClosed.
        """
        letters = chosen(await self.dead_letters(), letter)
        for each in letters:
            await self.send(Redeliver(message_id=call_message_id(None), letter=each.message_id, by=by))
        return len(letters)

    async def send(self, message: Message, remembered_as: str | None = None) -> Admitted:
        """Send any message; returns how it was admitted, once it is durable.

        ``remembered_as``: the id under which the store remembers it, where that is not the message's own.
        Raises: SagaNotFound, SagaClosed, Overloaded, StoreUnavailable.
        """
        admission = Admission(
            id=self.id,
            kind="message",
            message_id=remembered_as or message.message_id,
            mail=encode_message(message),
            run_id=self._latest or "",
        )
        lifts = isinstance(message, Resume | Cancel | Terminate)
        admit = self._access.lift if lifts else self._access.admit
        admitted = await admit(admission, follow=self._follows)
        if self._follows and self.run_id is not None and goes_on_in(self.run_id, admitted.run_id):
            self._latest = admitted.run_id
        return admitted

    def __repr__(self) -> str:
        return f"<saga {self.id!r}>"
