"""A handle whose calls block: one instance as a synchronous client holds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, TypeVarTuple, overload

from sagas.description import Description
from sagas.engine.message import Message
from sagas.handle import Handle
from sagas.kernel.duration import Duration
from sagas.kernel.events import Event
from sagas.letters import DeadLetter
from sagas.store.port import Admitted
from sagas.sync.thread import ClientThread

R = TypeVar("R")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")


class SyncHandle(Generic[R]):
    """``Handle`` for any thread: what each call does and raises is told there."""

    def __init__(self, thread: ClientThread, handle: Handle[R]) -> None:
        self.id = handle.id
        self.run_id = handle.run_id
        self._thread = thread
        self._call = thread.call
        self._handle = handle

    def signal(self, signal: Callable[[Any, *Ts], Any] | str, *args: *Ts, message_id: str | None = None) -> None:
        """Send a signal; returns once it is durable."""
        self._call(lambda: self._handle.signal(signal, *args, message_id=message_id))

    def query(self, query: Callable[[Any, *Ts], R_co] | str, *args: *Ts) -> R_co:
        """Ask a query of the instance's present state (of an ended one, its last)."""
        return self._call(lambda: self._handle.query(query, *args))

    @overload
    def update(
        self,
        update: Callable[[Any, *Ts], Awaitable[T]],
        *args: *Ts,
        message_id: str | None = None,
        timeout: Duration | None = None,
    ) -> T: ...
    @overload
    def update(
        self,
        update: Callable[[Any, *Ts], T],
        *args: *Ts,
        message_id: str | None = None,
        timeout: Duration | None = None,
    ) -> T: ...
    @overload
    def update(
        self, update: str, *args: Any, message_id: str | None = None, timeout: Duration | None = None
    ) -> Any: ...
    def update(  # type: ignore[misc]  # mypy does not match *args: Any with *args: *Ts
        self,
        update: Callable[..., Any] | str,
        *args: Any,
        message_id: str | None = None,
        timeout: Duration | None = None,
    ) -> Any:
        """Send an update and wait for what its handler returns, or raises."""
        return self._call(lambda: self._handle.update(update, *args, message_id=message_id, timeout=timeout))

    def result(self, timeout: Duration | None = None) -> R:
        """Wait for the end of the run: its result, or the error that says how it ended."""
        return self._call(lambda: self._handle.result(timeout))

    def cancel(self, reason: str = "") -> None:
        """Ask the run to cancel: ``CancelledError`` at its current await, open scopes undone."""
        self._call(lambda: self._handle.cancel(reason))

    def terminate(self, reason: str = "") -> None:
        """End the run at once: no code runs, nothing is undone."""
        self._call(lambda: self._handle.terminate(reason))

    def pause(self, by: str = "") -> None:
        """Run no code of it until ``resume()``; messages and results are still recorded."""
        self._call(lambda: self._handle.pause(by))

    def resume(self, by: str = "") -> None:
        """Let a paused run, or a parked one whose cause is gone, go on."""
        self._call(lambda: self._handle.resume(by))

    def fork(self, *, event: int, id: str | None = None) -> SyncHandle[R]:
        """Start another run that goes on from event ``event`` of this one's history, on the code there is now."""
        return SyncHandle(self._thread, self._call(lambda: self._handle.fork(event=event, id=id)))

    def reset(self, *, event: int) -> SyncHandle[R]:
        """``fork`` under the same id: a run that goes on is terminated, and the new one takes its place."""
        return SyncHandle(self._thread, self._call(lambda: self._handle.reset(event=event)))

    def describe(self) -> Description:
        """Its status, and what it waits for."""
        return self._call(self._handle.describe)

    def history(self) -> list[Event]:
        """Every event of the run so far."""
        return self._call(self._handle.history)

    def delete(self) -> None:
        """Remove the instance, which must have ended, for good: every run of this id, with all that is stored of it."""
        self._call(self._handle.delete)

    def dead_letters(self) -> list[DeadLetter]:
        """Signals of the run that no handler could take, the oldest first."""
        return self._call(self._handle.dead_letters)

    def redeliver(self, letter: str | int | None = None, *, by: str = "") -> int:
        """Have a dead letter (None: all there are) applied again; returns how many, once that is durable."""
        return self._call(lambda: self._handle.redeliver(letter, by=by))

    def send(self, message: Message, remembered_as: str | None = None) -> Admitted:
        """Send any message; returns how it was admitted, once it is durable."""
        return self._call(lambda: self._handle.send(message, remembered_as))

    def __repr__(self) -> str:
        return repr(self._handle)
