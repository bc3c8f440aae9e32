"""The client: starts, signals, asks and watches instances. It needs the store alone, whether or not a host is up.

Law: ``start`` and ``signal`` return once the message is durable; every message carries an id of its own, so that a
call whose answer was lost can be sent again and is taken once.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, overload

from sagas import completing
from sagas.access import Access
from sagas.calls import call_id, call_message_id, client_calls
from sagas.deleting import Erasure, delete, erase
from sagas.description import Description, describe_stored
from sagas.engine.message import Signal, Start, Terminate, encode_message
from sagas.errors import InvalidArgument
from sagas.filter import Filter
from sagas.handle import Handle
from sagas.ids import check_id
from sagas.kernel.attributes import checked_attributes
from sagas.kernel.duration import Duration, to_ms
from sagas.kernel.handlers import handler_args, handler_name
from sagas.kernel.saga import RunsTo, SagaType, saga_type_of
from sagas.kernel.state import Status
from sagas.patience import Patience, RealPatience
from sagas.store.port import Admission, OnConflict, OnReuse, Store
from sagas.telemetry.caller import current_traceparent

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


@client_calls("execute", "close")
class Client:
    """See the module's law. Use it on one event loop; ``async with`` closes it."""

    def __init__(
        self,
        store: Store,
        patience: Patience | None = None,
        learn: Callable[[SagaType], None] = lambda _type: None,
    ) -> None:
        """``learn`` is told of every type started: a host in this process then knows it too."""
        self._access = Access(store, patience or RealPatience())
        self._learn = learn

    # --- start

    @overload
    async def start(
        self,
        saga: Callable[[*Ts], RunsTo[R]],
        /,
        *args: *Ts,
        id: str | None = None,
        on_conflict: OnConflict = "fail",
        on_reuse: OnReuse = "allow",
        attributes: Mapping[str, Any] | None = None,
        start_delay: Duration = 0,
    ) -> Handle[R]: ...
    @overload
    async def start(
        self,
        saga: Callable[[*Ts], Awaitable[R]],
        /,
        *args: *Ts,
        id: str | None = None,
        on_conflict: OnConflict = "fail",
        on_reuse: OnReuse = "allow",
        attributes: Mapping[str, Any] | None = None,
        start_delay: Duration = 0,
    ) -> Handle[R]: ...
    async def start(  # type: ignore[misc]  # mypy does not match *args: Any with *args: *Ts
        self,
        saga: Callable[..., Any],
        /,
        *args: Any,
        id: str | None = None,
        on_conflict: OnConflict = "fail",
        on_reuse: OnReuse = "allow",
        attributes: Mapping[str, Any] | None = None,
        start_delay: Duration = 0,
    ) -> Handle[Any]:
        """Start a run; returns once that is durable, whether or not a host is up.

        ``on_conflict`` says what to do when a run with this id goes on, ``on_reuse`` when one has ended.
        ``start_delay``: the run is there at once, with its ``__init__``, and its handlers take messages; ``run`` begins
        when so much time has passed since a host recorded the start.
        Raises: SagaAlreadyStarted, ArgumentMismatch, PayloadError, InvalidArgument, Overloaded, StoreUnavailable.
        """
        saga_type = saga_type_of(saga)
        self._learn(saga_type)
        encoded = saga_type.arguments.encode(args, {})
        return await self._start(
            start_message(saga_type.name, encoded, attributes, start_delay), saga_type, id, on_conflict, on_reuse
        )

    async def start_by_name(
        self,
        type: str,
        /,
        *args: Any,
        id: str | None = None,
        on_conflict: OnConflict = "fail",
        on_reuse: OnReuse = "allow",
        attributes: Mapping[str, Any] | None = None,
        start_delay: Duration = 0,
    ) -> Handle[Any]:
        """``start`` of a saga type whose code this process does not have, so nothing checks its name and arguments.

        Raises: as ``start`` does.
        """
        message = start_message(type, handler_args(type, args), attributes, start_delay)
        return await self._start(message, None, id, on_conflict, on_reuse)

    async def _start(
        self,
        message: Start,
        saga_type: SagaType | None,
        id: str | None,
        on_conflict: OnConflict,
        on_reuse: OnReuse,
    ) -> Handle[Any]:
        admission = start_admission(message, call_id() if id is None else id, on_conflict, on_reuse)
        admitted = await self._access.admit(admission)
        return Handle(self._access, admission.id, admitted.run_id or message.run_id, saga_type, follows=True)

    @overload
    async def execute(
        self, saga: Callable[[*Ts], RunsTo[R]], /, *args: *Ts, id: str | None = None, timeout: Duration | None = None
    ) -> R: ...
    @overload
    async def execute(
        self, saga: Callable[[*Ts], Awaitable[R]], /, *args: *Ts, id: str | None = None, timeout: Duration | None = None
    ) -> R: ...
    async def execute(  # type: ignore[misc]  # mypy does not match *args: Any with *args: *Ts
        self,
        saga: Callable[..., Any],
        /,
        *args: Any,
        id: str | None = None,
        timeout: Duration | None = None,
    ) -> Any:
        """``start`` and ``result`` in one."""
        handle = await self.start(saga, *args, id=id)
        return await handle.result(timeout)

    async def signal_with_start(
        self,
        saga: Any,
        /,
        *args: Any,
        id: str,
        signal: Callable[..., Any] | str,
        signal_args: tuple[Any, ...] = (),
        message_id: str | None = None,
    ) -> Handle[Any]:
        """Signal the run of this id; where none goes on, start one first, in the same durable step."""
        saga_type = saga_type_of(saga)
        self._learn(saga_type)
        started = start_message(saga_type.name, saga_type.arguments.encode(args, {}), None)
        signalled = Signal(
            message_id=call_message_id(message_id),
            trace=current_traceparent(),
            name=handler_name(signal, "signal"),
            args=handler_args(signal, signal_args),
        )
        admitted = await self._access.admit(
            Admission(
                id=check_id(id),
                kind="start_or_message",
                message_id=signalled.message_id,
                mail=encode_message(signalled),
                start_mail=encode_message(started),
                run_id=started.run_id,
            )
        )
        return Handle(self._access, id, admitted.run_id or started.run_id, saga_type, follows=True)

    # --- callbacks

    async def complete(self, token: str, value: object = None, *, message_id: str | None = None) -> None:
        """Give a saga's ``callback()`` its value; returns once that is durable, whether or not a host is up.

        ``message_id``: the same id is one answer, however often it is sent. Raises: InvalidArgument when the token was
        never given away; CallbackDone when it was answered before; SagaClosed when its run has ended; SagaNotFound,
        PayloadError, Overloaded, StoreUnavailable.
        """
        await completing.complete(self._access, token, value, message_id)

    async def fail(self, token: str, error: str | BaseException, *, message_id: str | None = None) -> None:
        """Say that a saga's ``callback()`` failed: awaiting it raises, as an activity does that raised ``error``.

        Raises: as ``complete`` does.
        """
        await completing.fail(self._access, token, error, message_id)

    # --- look

    def get(self, id: str, run_id: str | None = None) -> Handle[Any]:
        """A handle of an instance that was started before, here or elsewhere; nothing is asked yet."""
        return Handle(self._access, check_id(id), run_id, None)

    async def list(self, query: str = "") -> AsyncIterator[Description]:
        """Instances that match, e.g. ``"status = 'running' and type = 'Subscription'"``; in no particular order.

        Fields: status, type, id, compensation, parked (its reason, '' when not), and ``attributes.plan`` for whatever
        its attributes are named: ``"attributes.plan = 'pro' and attributes.seats = 5"`` (grammar: ``sagas.filter``).
        One whose head cannot be read is named as parked, with that reason. Raises: InvalidArgument.
        """
        async for page in self._pages(query):
            for found in page:
                yield found

    async def _pages(self, query: str) -> AsyncGenerator[Sequence[Description]]:
        """What ``list`` names, page by page as the store gives it; no page is empty."""
        wanted = Filter.parse(query)
        for index in _indexes(wanted):
            cursor, more = "", True
            while more:
                ids, cursor = await self._access.store.ids(index, cursor)
                stored = zip(ids, await self._access.store.heads(ids), strict=True)
                found = [describe_stored(id, head, index) for id, head in stored if head is not None]
                if page := [each for each in found if wanted.matches(_row(each), each.attributes)]:
                    yield page
                more = bool(cursor)

    async def count(self, query: str = "") -> int:
        """How many instances match."""
        return sum([len(page) async for page in self._pages(query)])

    async def erase(self, query: str) -> Erasure:
        """Delete every instance that matches and has ended; says which, and which still run and therefore stay.

        A query finds an instance by its latest run; its earlier runs go with it. Raises: InvalidArgument for a query
        that finds everything; what ``Handle.delete`` raises.
        """
        if not query.strip():
            raise InvalidArgument("say what is to be erased, as in erase(\"attributes.customer = 'ada'\")")
        found = [each.id async for page in self._pages(query) for each in page]
        return await erase(dict.fromkeys(found), functools.partial(delete, self._access))

    @property
    def access(self) -> Access:
        """What this client does to its store: for ways in that make their own messages, such as HTTP."""
        return self._access

    async def close(self) -> None:
        """Let go of the connections."""
        await self._access.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def start_message(
    type: str,
    args: bytes,
    attributes: Mapping[str, Any] | None,
    delay: Duration = 0,
    *,
    message_id: str | None = None,
    run_id: str | None = None,
) -> Start:
    """The order to begin a run, with random ids where none are given. Raises: InvalidArgument, PayloadError."""
    if not type or not type.isprintable():
        raise InvalidArgument(f"{type!r} is no name of a saga type: give the name that its host knows it by")
    return Start(
        message_id=call_message_id(message_id),
        trace=current_traceparent(),
        run_id=call_id() if run_id is None else run_id,
        type=type,
        args=args,
        attributes=checked_attributes(attributes),
        delay_ms=to_ms(delay, "start_delay"),
    )


def start_admission(
    message: Start, id: str, on_conflict: OnConflict, on_reuse: OnReuse, remembered_as: str | None = None
) -> Admission:
    """The order at the door of its instance; ``remembered_as`` where the store is to know it by another id.

    Raises: InvalidArgument.
    """
    return Admission(
        id=check_id(id),
        kind="start",
        message_id=remembered_as or message.message_id,
        mail=encode_message(message),
        run_id=message.run_id,
        on_conflict=_one_of("on_conflict", on_conflict, ("fail", "use_existing", "terminate_existing")),
        on_reuse=_one_of("on_reuse", on_reuse, ("allow", "allow_failed", "reject")),
        terminate_mail=_terminate_for_start() if on_conflict == "terminate_existing" else b"",
    )


def _terminate_for_start() -> bytes:
    return encode_message(Terminate(message_id=call_message_id(None), reason="replaced by a new start of the same id"))


def _one_of(what: str, value: Any, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise InvalidArgument(f"{what} is one of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


def _indexes(wanted: Filter) -> list[str]:
    """The indexes that together hold every instance the filter can match."""
    status, saga_type = wanted.value_of("status"), wanted.value_of("type")
    if saga_type is not None:
        return [f"type:{saga_type}"]
    return [f"status:{each}" for each in ([status] if status is not None else Status)]


def _row(found: Description) -> dict[str, str]:
    return {
        "status": found.status.value,
        "type": found.type,
        "id": found.id,
        "compensation": found.compensation.value,
        "parked": found.parked or "",
    }
