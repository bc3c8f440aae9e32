"""The client whose calls block: starts, signals, asks and watches instances from any thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, overload

from sagas.deleting import Erasure
from sagas.description import Description
from sagas.kernel.duration import Duration
from sagas.kernel.saga import RunsTo
from sagas.store.port import OnConflict, OnReuse
from sagas.sync.handle import SyncHandle
from sagas.sync.thread import ClientThread

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


def connect_sync(url: str | None = None, namespace: str = "default") -> SyncClient:
    """A blocking client of the instances in the Redis at ``url``, else at SAGAS_URL, else where ``sagas dev`` runs.

    Whether a host is up does not matter. Close it with ``client.close()`` or use it in ``with``. One client serves
    every thread of a process; a process that forks (gunicorn, Celery) connects in each worker.
    Raises: StoreUnavailable, UnsafeStore; SagaError where an event loop runs (use ``await sagas.connect(...)``).
    """
    return SyncClient(ClientThread(url, namespace))


class SyncClient:
    """``Client`` for any thread: what each call does and raises is told there.

    Every call raises SagaError when the client is closed, was connected before a fork, or where an event loop runs.
    """

    def __init__(self, thread: ClientThread) -> None:
        self._thread = thread
        self._call = thread.call
        self._client = thread.client

    # --- start

    @overload
    def start(
        self,
        saga: Callable[[*Ts], RunsTo[R]],
        /,
        *args: *Ts,
        id: str | None = None,
        on_conflict: OnConflict = "fail",
        on_reuse: OnReuse = "allow",
        attributes: Mapping[str, Any] | None = None,
        start_delay: Duration = 0,
    ) -> SyncHandle[R]: ...
    @overload
    def start(
        self,
        saga: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        id: str | None = None,
        on_conflict: OnConflict = "fail",
        on_reuse: OnReuse = "allow",
        attributes: Mapping[str, Any] | None = None,
        start_delay: Duration = 0,
    ) -> SyncHandle[R]: ...
    def start(  # type: ignore[misc]  # mypy does not match *args: Any with *args: *Ts
        self,
        saga: Callable[..., Any],
        /,
        *args: Any,
        id: str | None = None,
        on_conflict: OnConflict = "fail",
        on_reuse: OnReuse = "allow",
        attributes: Mapping[str, Any] | None = None,
        start_delay: Duration = 0,
    ) -> SyncHandle[Any]:
        """Start a run; returns once that is durable, whether or not a host is up."""
        handle = self._call(
            lambda: self._client.start(
                saga,
                *args,
                id=id,
                on_conflict=on_conflict,
                on_reuse=on_reuse,
                attributes=attributes,
                start_delay=start_delay,
            )
        )
        return SyncHandle(self._thread, handle)

    def start_by_name(
        self,
        type: str,
        /,
        *args: Any,
        id: str | None = None,
        on_conflict: OnConflict = "fail",
        on_reuse: OnReuse = "allow",
        attributes: Mapping[str, Any] | None = None,
        start_delay: Duration = 0,
    ) -> SyncHandle[Any]:
        """``start`` of a saga type whose code this process does not have, so nothing checks its name and arguments."""
        handle = self._call(
            lambda: self._client.start_by_name(
                type,
                *args,
                id=id,
                on_conflict=on_conflict,
                on_reuse=on_reuse,
                attributes=attributes,
                start_delay=start_delay,
            )
        )
        return SyncHandle(self._thread, handle)

    @overload
    def execute(
        self, saga: Callable[[*Ts], RunsTo[R]], /, *args: *Ts, id: str | None = None, timeout: Duration | None = None
    ) -> R: ...
    @overload
    def execute(
        self, saga: Callable[[*Ts], Awaitable[R]], /, *args: *Ts, id: str | None = None, timeout: Duration | None = None
    ) -> R: ...
    def execute(  # type: ignore[misc]  # mypy does not match *args: Any with *args: *Ts
        self,
        saga: Callable[..., Any],
        /,
        *args: Any,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> Any:
        """``start`` and ``result`` in one."""
        return self._call(lambda: self._client.execute(saga, *args, id=id, timeout=timeout))

    def signal_with_start(
        self,
        saga: Any,
        /,
        *args: Any,
        id: str,
        signal: Callable[..., Any] | str,
        signal_args: tuple[Any, ...] = (),
        message_id: str | None = None,
    ) -> SyncHandle[Any]:
        """Signal the run of this id; where none goes on, start one first, in the same durable step."""
        handle = self._call(
            lambda: self._client.signal_with_start(
                saga, *args, id=id, signal=signal, signal_args=signal_args, message_id=message_id
            )
        )
        return SyncHandle(self._thread, handle)

    # --- callbacks

    def complete(self, token: str, value: object = None, *, message_id: str | None = None) -> None:
        """Give a saga's ``callback()`` its value; returns once that is durable."""
        self._call(lambda: self._client.complete(token, value, message_id=message_id))

    def fail(self, token: str, error: str | BaseException, *, message_id: str | None = None) -> None:
        """Say that a saga's ``callback()`` failed; returns once that is durable."""
        self._call(lambda: self._client.fail(token, error, message_id=message_id))

    # --- look

    def get(self, id: str, run_id: str | None = None) -> SyncHandle[Any]:
        """A handle of an instance that was started before, here or elsewhere; nothing is asked yet."""
        return SyncHandle(self._thread, self._client.get(id, run_id))

    def list(self, query: str = "") -> Iterator[Description]:
        """Instances that match, in no particular order; asked for page by page, as they are taken."""
        pages = self._client._pages(query)
        while (page := self._call(lambda: _next(pages))) is not None:
            yield from page

    def count(self, query: str = "") -> int:
        """How many instances match."""
        return self._call(lambda: self._client.count(query))

    def erase(self, query: str) -> Erasure:
        """Delete every instance that matches and has ended; says which, and which still run and therefore stay."""
        return self._call(lambda: self._client.erase(query))

    def close(self) -> None:
        """Let go of the connections; calls of other threads that are under way raise SagaError. May be repeated."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _next(pages: AsyncGenerator[Sequence[Description]]) -> Sequence[Description] | None:
    return await anext(pages, None)
