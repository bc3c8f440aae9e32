"""The client: starts, signals, asks and watches instances. It needs the store alone, whether or not a host is up.

Law: ``start`` and ``signal`` return once the message is durable; every message carries an id of its own, so that a
call whose answer was lost can be sent again and is taken once.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, TypeVarTuple, cast, overload

from sagas.description import Description, describe
from sagas.engine.heads import decode_notice
from sagas.engine.message import Cancel, Message, Pause, Query, Reply, Resume, Signal, Start, Terminate, encode_message
from sagas.errors import (
    InvalidArgument,
    Overloaded,
    QueryFailed,
    SagaAlreadyStarted,
    SagaCancelled,
    SagaClosed,
    SagaFailed,
    SagaNotFound,
    SagaParked,
    SagaTerminated,
    SagaTimedOut,
    StoreUnavailable,
)
from sagas.filter import Filter
from sagas.kernel.duration import Duration, to_ms
from sagas.kernel.events import (
    Event,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunTerminated,
    RunTimedOut,
    decode_chunk,
)
from sagas.kernel.failure import Failure
from sagas.kernel.handlers import MARK, Handler, handler_args, handler_name
from sagas.kernel.saga import SagaType, saga_type_of
from sagas.kernel.state import Status
from sagas.payloads import decode, encode
from sagas.store.head import decode_head
from sagas.store.port import Admission, AdmissionVerdict, Admitted, Head, OnConflict, OnReuse, Store, Subscription
from sagas.telemetry.caller import current_traceparent

History = list[Event]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Ts = TypeVarTuple("Ts")

MAX_ID_BYTES = 512
QUERY_TIMEOUT_S = 10.0
_ASK_AGAIN_S = 2.0
_TRIES_S = (0.05, 0.2, 0.5, 1.0)


class RunsTo(Protocol[R_co]):
    """A class saga: an object whose ``run()`` ends with a result."""

    async def run(self) -> R_co: ...


class Patience(Protocol):
    """How a client waits for something to change: on a real clock, or by moving a virtual one."""

    async def wait(self, changed: asyncio.Event, timeout_s: float) -> None: ...


class RealPatience:
    """Wait for the event, at most ``timeout_s``."""

    async def wait(self, changed: asyncio.Event, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return


def check_id(id: str) -> str:
    """The id, if it can be one: 1 to 512 bytes of UTF-8 without control characters.

    Raises: InvalidArgument.
    """
    if not isinstance(id, str) or not id:
        raise InvalidArgument("a saga id is a non-empty str; leave id out to get a random one")
    try:
        size = len(id.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"the saga id {id!r} holds a lone surrogate and is no valid Unicode text") from None
    if size > MAX_ID_BYTES:
        raise InvalidArgument(
            f"the saga id {id[:40]!r}... has {size} bytes, at most {MAX_ID_BYTES} are allowed; hash it"
        )
    if not id.isprintable():
        odd = next(character for character in id if not character.isprintable())
        raise InvalidArgument(f"the saga id {id!r} holds {odd!r}; ids are printable text without control characters")
    return id


class Handle(Generic[R]):
    """One instance. From ``start()`` it means that run; from ``client.get()`` the latest one."""

    def __init__(self, client: Client, id: str, run_id: str | None, saga_type: SagaType | None) -> None:
        self.id = id
        self.run_id = run_id
        self._client = client
        self._saga_type = saga_type

    async def signal(self, signal: Callable[[Any, *Ts], Any] | str, *args: *Ts, message_id: str | None = None) -> None:
        """Send a signal; returns once it is durable.

        ``message_id``: the same id is taken once (remembered at least 24 h). Raises: SagaNotFound, SagaClosed,
        ArgumentMismatch, Overloaded, StoreUnavailable.
        """
        name = handler_name(signal, "signal")
        message = Signal(
            message_id=_message_id(message_id),
            trace=current_traceparent(),
            name=name,
            args=handler_args(signal, args),
        )
        await self._send(message)

    async def query(self, query: Callable[[Any, *Ts], R_co] | str, *args: *Ts) -> R_co:
        """Ask a query of the instance's present state (of an ended one, its last).

        Raises: QueryFailed (unknown, raised, or no host answered), SagaNotFound.
        """
        name = handler_name(query, "query")
        value = await self._client._ask(self.id, name, handler_args(query, args))
        returns = Any if isinstance(query, str) else cast("Handler", getattr(query, MARK)).signature.returns
        return cast("R_co", decode(value, returns))

    async def result(self, timeout: Duration | None = None) -> R:
        """Wait for the end of the run.

        Returns its result. Raises: SagaFailed, SagaCancelled, SagaTimedOut, SagaTerminated; SagaParked (may be asked
        again); TimeoutError when ``timeout`` passes first; SagaNotFound.
        """
        value = await self._client._result(self.id, self.run_id, timeout)
        return cast("R", decode(value, Any if self._saga_type is None else self._saga_type.returns))

    async def cancel(self, reason: str = "") -> None:
        """Ask the run to cancel: ``CancelledError`` at its current await, open scopes undone."""
        await self._send(Cancel(message_id=_message_id(None), reason=reason))

    async def terminate(self, reason: str = "") -> None:
        """End the run at once: no code runs, nothing is undone."""
        await self._send(Terminate(message_id=_message_id(None), reason=reason))

    async def pause(self, by: str = "") -> None:
        """Run no code of it until ``resume()``; messages and results are still recorded."""
        await self._send(Pause(message_id=_message_id(None), by=by))

    async def resume(self, by: str = "") -> None:
        """Let a paused run, or a parked one whose cause is gone, go on."""
        await self._send(Resume(message_id=_message_id(None), by=by))

    async def describe(self) -> Description:
        """Its status, and what it waits for. Raises: SagaNotFound."""
        return describe(self.id, await self._client._head(self.id))

    async def history(self) -> list[Event]:
        """Every event of the run so far. Raises: SagaNotFound, HistoryError."""
        return await self._client._history(self.id, self.run_id)

    async def _send(self, message: Message) -> None:
        await self._client._admit(
            Admission(
                id=self.id,
                kind="message",
                message_id=message.message_id,
                mail=encode_message(message),
                run_id=self.run_id or "",
            )
        )

    def __repr__(self) -> str:
        return f"<saga {self.id!r}>"


class Client:
    """See the module's law. Use it on one event loop; ``async with`` closes it."""

    def __init__(
        self,
        store: Store,
        patience: Patience | None = None,
        learn: Callable[[SagaType], None] = lambda _type: None,
    ) -> None:
        """``learn`` is told of every type started: a host in this process then knows it too."""
        self._store = store
        self._learn = learn
        self._patience = patience or RealPatience()
        self._name = uuid.uuid4().hex
        self._changed: dict[str, set[asyncio.Event]] = {}
        self._replies: dict[str, asyncio.Future[Reply]] = {}
        self._subscriptions: dict[str, Awaitable[Subscription]] = {}

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
    ) -> Handle[Any]:
        """Start a run; returns once that is durable, whether or not a host is up.

        ``on_conflict`` says what to do when a run with this id goes on, ``on_reuse`` when one has ended.
        Raises: SagaAlreadyStarted, ArgumentMismatch, PayloadError, InvalidArgument, Overloaded, StoreUnavailable.
        """
        saga_type = saga_type_of(saga)
        self._learn(saga_type)
        encoded = saga_type.arguments.encode(args, {})
        return await self._start(
            _start_message(saga_type.name, encoded, attributes), saga_type, id, on_conflict, on_reuse
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
    ) -> Handle[Any]:
        """``start`` of a saga type whose code this process does not have, so nothing checks its name and arguments.

        Raises: as ``start`` does.
        """
        if not type or not type.isprintable():
            raise InvalidArgument(f"{type!r} is no name of a saga type: give the name that its host knows it by")
        message = _start_message(type, handler_args(type, args), attributes)
        return await self._start(message, None, id, on_conflict, on_reuse)

    async def _start(
        self,
        message: Start,
        saga_type: SagaType | None,
        id: str | None,
        on_conflict: OnConflict,
        on_reuse: OnReuse,
    ) -> Handle[Any]:
        admission = Admission(
            id=check_id(uuid.uuid4().hex if id is None else id),
            kind="start",
            message_id=message.message_id,
            mail=encode_message(message),
            run_id=message.run_id,
            on_conflict=_one_of("on_conflict", on_conflict, ("fail", "use_existing", "terminate_existing")),
            on_reuse=_one_of("on_reuse", on_reuse, ("allow", "allow_failed", "reject")),
            terminate_mail=_terminate_for_start() if on_conflict == "terminate_existing" else b"",
        )
        admitted = await self._admit(admission)
        return Handle(self, admission.id, admitted.run_id or message.run_id, saga_type)

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
        started = _start_message(saga_type.name, saga_type.arguments.encode(args, {}), None)
        signalled = Signal(
            message_id=_message_id(message_id),
            trace=current_traceparent(),
            name=handler_name(signal, "signal"),
            args=handler_args(signal, signal_args),
        )
        admitted = await self._admit(
            Admission(
                id=check_id(id),
                kind="start_or_message",
                message_id=signalled.message_id,
                mail=encode_message(signalled),
                start_mail=encode_message(started),
                run_id=started.run_id,
            )
        )
        return Handle(self, id, admitted.run_id or started.run_id, saga_type)

    # --- look

    def get(self, id: str, run_id: str | None = None) -> Handle[Any]:
        """A handle of an instance that was started before, here or elsewhere; nothing is asked yet."""
        return Handle(self, check_id(id), run_id, None)

    async def list(self, query: str = "") -> AsyncIterator[Description]:
        """Instances that match, e.g. ``"status = 'running' and type = 'Subscription'"``; in no particular order.

        Fields: status, type, id, compensation, parked (its reason, '' when not). Raises: InvalidArgument.
        """
        wanted = Filter.parse(query)
        for index in _indexes(wanted):
            cursor, more = "", True
            while more:
                ids, cursor = await self._store.ids(index, cursor)
                for id, loaded in zip(ids, await self._store.heads(ids), strict=True):
                    if loaded is not None and wanted.matches(_row(found := describe(id, decode_head(loaded)))):
                        yield found
                more = bool(cursor)

    async def count(self, query: str = "") -> int:
        """How many instances match."""
        return sum([1 async for _ in self.list(query)])

    # --- plumbing

    async def _admit(self, admission: Admission) -> Admitted:
        admitted = await self._enqueue(admission)
        match admitted.verdict:
            case AdmissionVerdict.OK | AdmissionVerdict.KNOWN | AdmissionVerdict.EXISTING:
                return admitted
            case AdmissionVerdict.ALREADY_STARTED:
                raise SagaAlreadyStarted(admission.id, admitted.run_id, admitted.status.name.lower())
            case AdmissionVerdict.NOT_FOUND:
                raise SagaNotFound(admission.id)
            case AdmissionVerdict.CLOSED:
                raise SagaClosed(admission.id, admitted.status.name.lower())
            case AdmissionVerdict.OVERLOADED:
                raise Overloaded
        raise AssertionError(admitted)

    async def _enqueue(self, admission: Admission) -> Admitted:
        """Send until the store has answered: the message id makes sending again safe."""
        for delay in _TRIES_S:
            try:
                return await self._store.enqueue(admission)
            except StoreUnavailable:
                await asyncio.sleep(delay)
        return await self._store.enqueue(admission)

    async def _head(self, id: str) -> Head:
        """The head, waiting for a run that is admitted but not applied by any host yet."""
        async with self._watching(id) as changed:
            while True:
                changed.clear()
                head = await self._known(id)
                if head is not None:
                    return head
                await self._patience.wait(changed, 0.05)

    async def _known(self, id: str) -> Head | None:
        """The head; None for a run that is admitted but not applied by any host yet. Raises: SagaNotFound."""
        # The admission is looked at first: it ends in the very commit that writes the head.
        admitted = await self._store.admitted(id)
        stored = await self._store.head(id)
        if stored is None and admitted is None:
            raise SagaNotFound(id)
        return None if stored is None else decode_head(stored)

    async def _history(self, id: str, run_id: str | None) -> History:
        run = run_id or (await self._head(id)).run_id
        chunks = await self._store.history(id, run)
        if not chunks:
            await self._known(id)
        return [event for chunk in chunks for event in decode_chunk(chunk)]

    async def _result(self, id: str, run_id: str | None, timeout: Duration | None) -> bytes:
        limit = None if timeout is None else to_ms(timeout, "timeout") / 1000
        async with asyncio.timeout(limit), self._watching(id) as changed:
            while True:
                changed.clear()
                ended = await self._ended(id, run_id)
                if ended is not None:
                    return _value_of(id, ended)
                await self._patience.wait(changed, _ASK_AGAIN_S)

    async def _ended(self, id: str, run_id: str | None) -> Event | None:
        """The closing event of the run, or None while it goes on. Raises: SagaParked, SagaNotFound."""
        head = await self._known(id)
        current = head is not None and run_id in (None, head.run_id)
        if current and head is not None:
            if head.parked:
                raise SagaParked(id, head.parked)
            if not head.closed_ms:
                return None
        last = await self._store.history(id, run_id or ("" if head is None else head.run_id), -1)
        if not last:
            return None
        closing = decode_chunk(last[0])[-1]
        return closing if isinstance(closing, _CLOSINGS) else None

    async def _ask(self, id: str, name: str, args: bytes) -> bytes:
        channel = f"rp:{self._name}"
        await self._subscribe(channel, self._on_reply)
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                while True:
                    reply = await self._ask_once(id, name, args, channel)
                    if reply is not None:
                        break
        except TimeoutError:
            why = f"no host answered within {QUERY_TIMEOUT_S:g} s: is one running for this namespace?"
            raise QueryFailed(name, "NoAnswer", why) from None
        if reply.error is not None:
            raise QueryFailed(name, *reply.error)
        assert reply.value is not None, "a reply is a value or an error"
        return reply.value

    async def _ask_once(self, id: str, name: str, args: bytes, channel: str) -> Reply | None:
        message = Query(message_id=_message_id(None), name=name, args=args, reply_to=channel)
        future = self._replies[message.message_id] = asyncio.get_running_loop().create_future()
        arrived = asyncio.Event()
        future.add_done_callback(lambda _: arrived.set())
        try:
            await self._admit(
                Admission(
                    id=id,
                    kind="read",
                    message_id=message.message_id,
                    mail=encode_message(message),
                    remember_ms=60_000,
                )
            )
            await self._patience.wait(arrived, _ASK_AGAIN_S)
            return future.result() if future.done() else None
        finally:
            del self._replies[message.message_id]

    def _on_reply(self, payload: bytes) -> None:
        reply = Reply.decode(payload)
        future = self._replies.get(reply.message_id)
        if future is not None and not future.done():
            future.set_result(reply)

    def _watching(self, id: str) -> _Watch:
        return _Watch(self, id)

    def _on_notice(self, payload: bytes) -> None:
        for event in self._changed.get(decode_notice(payload)[0], ()):
            event.set()

    async def _subscribe(self, channel: str, listener: Callable[[bytes], None]) -> None:
        if channel not in self._subscriptions:
            self._subscriptions[channel] = asyncio.ensure_future(self._store.subscribe(channel, listener))
        await self._subscriptions[channel]

    async def close(self) -> None:
        """Let go of the connections."""
        for subscription in self._subscriptions.values():
            await (await subscription).close()
        self._subscriptions.clear()
        await self._store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Watch:
    """An event that is set when a run of the instance has ended or parked; listened for from before the first look."""

    def __init__(self, client: Client, id: str) -> None:
        self._client = client
        self._id = id
        self._event = asyncio.Event()

    async def __aenter__(self) -> asyncio.Event:
        client = self._client
        await client._subscribe(client._store.notice_channel(self._id), client._on_notice)
        client._changed.setdefault(self._id, set()).add(self._event)
        return self._event

    async def __aexit__(self, *_error: object) -> None:
        watchers = self._client._changed[self._id]
        watchers.discard(self._event)
        if not watchers:
            del self._client._changed[self._id]


_CLOSINGS = (RunCompleted, RunFailed, RunCancelled, RunTimedOut, RunTerminated)


def _value_of(id: str, closing: Event) -> bytes:
    match closing:
        case RunCompleted(result=result):
            return result
        case RunFailed(failure=row):
            failure = Failure.from_row(row)
            raise SagaFailed(id, failure.cause_type, failure.message) from failure.declared()
        case RunCancelled(reason=reason):
            raise SagaCancelled(id, reason)
        case RunTimedOut(reason=reason):
            raise SagaTimedOut(id, reason)
        case RunTerminated(reason=reason):
            raise SagaTerminated(id, reason)
    raise AssertionError(f"{closing!r} ends no run")


def _start_message(type: str, args: bytes, attributes: Mapping[str, Any] | None) -> Start:
    return Start(
        message_id=_message_id(None),
        trace=current_traceparent(),
        run_id=uuid.uuid4().hex,
        type=type,
        args=args,
        attributes=_checked_attributes(attributes),
    )


def _message_id(given: str | None) -> str:
    if given is None:
        return uuid.uuid4().hex
    if not given or len(given.encode()) > MAX_ID_BYTES:
        raise InvalidArgument(f"a message_id has 1 to {MAX_ID_BYTES} bytes; leave it out to get a random one")
    return given


def _terminate_for_start() -> bytes:
    return encode_message(Terminate(message_id=_message_id(None), reason="replaced by a new start of the same id"))


def _checked_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    given = dict(attributes or {})
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float | bool):
            raise InvalidArgument(f"attribute {name!r} is a {type(value).__name__}; use str, int, float or bool")
    encode(given)
    return given


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
