"""What a client does with a store: admit messages, look at heads and histories, wait for ends, ask queries."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice

from sagas.description import Description, describe
from sagas.ending import CLOSINGS, value_of
from sagas.engine.heads import decode_notice, head_of
from sagas.engine.message import Query, Reply, encode_message
from sagas.errors import (
    HistoryError,
    Overloaded,
    QueryFailed,
    SagaAlreadyStarted,
    SagaClosed,
    SagaNotFound,
    SagaParked,
    StoreUnavailable,
)
from sagas.ids import new_message_id
from sagas.kernel.chain import goes_on_in, next_run_id
from sagas.kernel.duration import Duration, to_ms
from sagas.kernel.events import Event, RunContinued, RunFailed, decode_chunk, split_chunk
from sagas.kernel.events.large import put_back, refers
from sagas.kernel.state import RunState
from sagas.patience import Patience
from sagas.payloads.sealing import opened_words
from sagas.store.head import decode_head
from sagas.store.port import Admission, AdmissionVerdict, Admitted, Head, Status, Store, Subscription
from sagas.updating import UpdateCall, UpdateCalls

QUERY_TIMEOUT_S = 10.0
_ASK_AGAIN_S = 2.0
_LONGEST_S = 60.0
"""Between two looks at a run whose end will be noticed: thousands may wait for months."""
_TRIES_S = (0.05, 0.2, 0.5, 1.0)
_MOST_LIFTED = 1000


class Access:
    """One client's way into a store. Use it on one event loop."""

    def __init__(self, store: Store, patience: Patience) -> None:
        self.store = store
        self._patience = patience
        self._reply_to = f"rp:{uuid.uuid4().hex}"
        self._updates = UpdateCalls(self.admit, self.history, patience)
        self._changed: dict[str, set[asyncio.Event]] = {}
        self._replies: dict[str, asyncio.Future[Reply]] = {}
        self._subscriptions: dict[str, asyncio.Future[Subscription]] = {}
        # Parked ids that were told to go on -> the run that stood still, and how often it had been told; the oldest go.
        self._lifted: dict[str, tuple[str, int]] = {}
        store.on_missed(self._on_missed)

    async def admit(self, admission: Admission, /, *, follow: bool = False) -> Admitted:
        """Send a message in at its instance's door; with ``follow``, to the run that its chain has come to.

        Raises: what the door's verdict means, StoreUnavailable.
        """
        return (await self.admit_certainly(admission, follow=follow))[0]

    async def admit_certainly(self, admission: Admission, /, *, follow: bool = False) -> tuple[Admitted, bool]:
        """``admit``, and whether KNOWN can only mean an earlier call: no answer to this one was lost on its way."""
        admitted, certain = await self._enqueue(admission)
        while follow and _went_on(admission, admitted):
            admission = replace(admission, run_id=admitted.run_id)
            admitted, certain = await self._enqueue(admission)
        return self._judged(admission, admitted), certain

    def _judged(self, admission: Admission, admitted: Admitted) -> Admitted:
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

    async def lift(self, admission: Admission, /, *, follow: bool = False) -> Admitted:
        """``admit`` a message that moves a parked run: its result is asked for only after the message was applied."""
        head = None
        with suppress(HistoryError):  # a head that cannot be read keeps nobody from ending the run
            head = await self._known(admission.id)
        admitted = await self.admit(admission, follow=follow)
        # A repeat (KNOWN) lifts nothing: the run may have parked again since.
        if head is not None and head.parked and admitted.verdict is AdmissionVerdict.OK:
            self._lifted.pop(admission.id, None)
            self._lifted[admission.id] = (head.run_id, head.lifts)
            if len(self._lifted) > _MOST_LIFTED:
                del self._lifted[next(iter(self._lifted))]
        return admitted

    async def _enqueue(self, admission: Admission) -> tuple[Admitted, bool]:
        """Send until the store has answered: the message id makes sending again safe. Also whether once was enough."""
        for tried, delay in enumerate(_TRIES_S):
            try:
                return await self.store.enqueue(admission), tried == 0
            except StoreUnavailable:
                await asyncio.sleep(delay)
        return await self.store.enqueue(admission), False

    async def head(self, id: str, run_id: str | None = None) -> Head:
        """The head, waiting for a run that is admitted but not applied by any host yet."""
        async with self.watching(id) as changed:
            while True:
                changed.clear()
                head = await self._known(id, run_id)
                if head is not None:
                    return head
                await self._patience.settle(changed, 0.05)

    async def _known(self, id: str, run_id: str | None = None) -> Head | None:
        """The head; None for a run that is admitted but not applied by any host yet.

        Raises: SagaNotFound; HistoryError when it cannot be read.
        """
        admitted, stored = await self.store.standing(id)
        if stored is None and admitted is None:
            raise SagaNotFound(id)
        if stored is None or (run_id is not None and admitted == run_id):
            return None
        try:
            return decode_head(stored)
        except HistoryError as error:
            raise HistoryError(f"saga {id!r}: {error}") from error

    async def describe(self, id: str, run_id: str | None, *, follow: bool = False) -> Description:
        """How a run stands (None: the current one); one that has ended is read from its history.

        ``follow``: that of the run's chain which began last.
        """
        head = await self.head(id, run_id)
        if _shows(head, run_id, follow):
            return describe(id, head)
        state = RunState()
        state.evolve_all(await self.history(id, run_id, follow=follow))
        if state.started is None:
            raise SagaNotFound(id)
        described = describe(id, head_of(state, state.started, version=0, closed_ms=state.last_ms))
        following = next_run_id(state.started.run_id)
        if isinstance(state.closing, RunContinued | RunFailed) and await self.store.history(id, following, -1):
            return replace(described, continued_as=following)
        return described

    async def history(self, id: str, run_id: str | None, *, follow: bool = False) -> list[Event]:
        """Every event of a run (None: of the current one). Raises: SagaNotFound, HistoryError."""
        if run_id is None or follow:
            run_id = await self._last_run(id, run_id)
        chunks = await self.store.history(id, run_id)
        if not chunks:
            await self._known(id)
        return await self.whole(id, run_id, [event for chunk in chunks for event in decode_chunk(chunk)])

    async def transitions(self, id: str, run_id: str | None, *, follow: bool = False) -> list[list[Event]]:
        """``history``, those together that were written together."""
        if run_id is None or follow:
            run_id = await self._last_run(id, run_id)
        chunks = [each for chunk in await self.store.history(id, run_id) for each in split_chunk(chunk)]
        if not chunks:
            await self._known(id)
        stored = [decode_chunk(chunk) for chunk in chunks]
        whole = iter(await self.whole(id, run_id, list(chain.from_iterable(stored))))
        return [list(islice(whole, len(events))) for events in stored]

    async def whole(self, id: str, run_id: str, events: list[Event]) -> list[Event]:
        """Events as they were stored, with the payloads that lie beside their history. Raises: HistoryError."""
        return put_back(events, await self.store.blobs(id, run_id)) if refers(events) else events

    async def _last_run(self, id: str, run_id: str | None) -> str:
        """The run that the chain of ``run_id`` has come to (None: the instance)."""
        head = await self.head(id, run_id)
        if run_id is None or goes_on_in(run_id, head.run_id):
            return head.run_id
        return await self._end_of_chain(id, run_id)

    async def _end_of_chain(self, id: str, run_id: str) -> str:
        """The last run of a chain that is over: a start has taken the id since."""
        while await self.store.history(id, following := next_run_id(run_id), -1):
            run_id = following
        return run_id

    async def result(self, id: str, run_id: str | None, timeout: Duration | None, *, follow: bool = False) -> bytes:
        """The encoded result of a run, once it has one; with ``follow``, or where it continues, that of its chain.

        Raises: as ``Handle.result`` does.
        """
        limit_s = None if timeout is None else to_ms(timeout, "timeout") / 1000
        until = None if limit_s is None else self._patience.now() + limit_s
        again_s = _ASK_AGAIN_S
        async with self.watching(id) as changed:
            while True:
                changed.clear()
                ended = await self._ended(id, run_id, follow)
                if ended is not None:
                    return value_of(id, ended)
                if until is not None and self._patience.now() >= until:
                    raise TimeoutError(
                        f"saga {id!r} did not end within {limit_s:g} s; describe() says what it waits for"
                    )
                await self._patience.wait(changed, again_s, until)
                again_s = min(2 * again_s, _LONGEST_S)

    async def _ended(self, id: str, run_id: str | None, follow: bool) -> Event | None:
        """The closing event of the run, or None while it goes on. Raises: SagaParked, SagaNotFound."""
        head = await self._known(id, run_id)
        if head is None:  # it has not begun; and by the time a history is read, another run may have followed it
            return None
        if _shows(head, run_id, follow):
            if head.parked and not self._is_lifted(id, head):
                self._lifted.pop(id, None)
                raise SagaParked(id, opened_words(head.parked))
            if not head.closed_ms:
                return None
            run_id = head.run_id
        elif follow and run_id is not None:
            run_id = await self._end_of_chain(id, run_id)
        run = run_id or head.run_id
        last = await self.store.history(id, run, -1)
        if not last:
            await self._check_kept(id, run)
            return None
        closing = decode_chunk(last[0])[-1]
        if isinstance(closing, RunContinued):
            return await self._ended(id, closing.next_run, follow=True)
        return (await self.whole(id, run, [closing]))[0] if isinstance(closing, CLOSINGS) else None

    async def _check_kept(self, id: str, run_id: str) -> None:
        """A run without a history has not begun, or is kept no longer. Raises: SagaNotFound for the latter."""
        admitted, stored = await self.store.standing(id)
        begins = stored is None or admitted == run_id or decode_head(stored).run_id == run_id
        if not begins and not await self.store.history(id, run_id, -1):
            raise SagaNotFound(id)

    def _is_lifted(self, id: str, head: Head) -> bool:
        """Whether the parked run was told to go on, and has not heard of it yet."""
        run_id, lifts = self._lifted.get(id, ("", 0))
        return head.run_id == run_id and head.lifts <= lifts

    async def ask(self, id: str, name: str, args: bytes) -> bytes:
        """The encoded answer to a query. Raises: QueryFailed, SagaNotFound."""
        await self._subscribe(self._reply_to, self._on_reply)
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                while True:
                    reply = await self._ask_once(id, name, args)
                    if reply is not None:
                        break
        except TimeoutError:
            why = f"no host answered within {QUERY_TIMEOUT_S:g} s: is one running for this namespace?"
            raise QueryFailed(name, "NoAnswer", why) from None
        if reply.error is not None:
            raise QueryFailed(name, reply.error[0], opened_words(reply.error[1]))
        assert reply.value is not None, "a reply is a value or an error"
        return reply.value

    async def _ask_once(self, id: str, name: str, args: bytes) -> Reply | None:
        message = Query(message_id=new_message_id(None), name=name, args=args, reply_to=self._reply_to)
        future = self._replies[message.message_id] = asyncio.get_running_loop().create_future()
        arrived = asyncio.Event()
        future.add_done_callback(lambda _: arrived.set())
        try:
            await self.admit(
                Admission(
                    id=id,
                    kind="read",
                    message_id=message.message_id,
                    mail=encode_message(message),
                    remember_ms=60_000,
                )
            )
            await self._patience.settle(arrived, _ASK_AGAIN_S)
            return future.result() if future.done() else None
        finally:
            del self._replies[message.message_id]

    async def update(
        self, id: str, run_id: str | None, call: UpdateCall, timeout: Duration | None, *, follow: bool = False
    ) -> bytes:
        """The encoded outcome of an update. Raises: as ``Handle.update`` does."""
        limit_s = None if timeout is None else to_ms(timeout, "timeout") / 1000
        until = None if limit_s is None else self._patience.now() + limit_s
        await self._subscribe(self._reply_to, self._on_reply)
        return await self._updates.call(id, run_id or "", call, self._reply_to, until, follow=follow)

    def _on_reply(self, payload: bytes) -> None:
        reply = Reply.decode(payload)
        self._updates.heard(reply)
        future = self._replies.get(reply.message_id)
        if future is not None and not future.done():
            future.set_result(reply)

    async def settle(self, changed: asyncio.Event, again_s: float) -> None:
        """Wait for what is on its way already, as this client's patience does."""
        await self._patience.settle(changed, again_s)

    def watching(self, id: str) -> _Watch:
        """An event that is set when a run of the instance has ended, parked or gone."""
        return _Watch(self, id)

    def _on_notice(self, payload: bytes) -> None:
        for event in self._changed.get(decode_notice(payload)[0], ()):
            event.set()

    def _on_missed(self) -> None:
        self._updates.missed()
        for event in (event for events in self._changed.values() for event in events):
            event.set()

    async def _subscribe(self, channel: str, listener: Callable[[bytes], None]) -> None:
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            subscription = asyncio.ensure_future(self.store.subscribe(channel, listener))
            self._subscriptions[channel] = subscription
            subscription.add_done_callback(lambda done: self._subscribed(channel, done))
        await asyncio.shield(subscription)

    def _subscribed(self, channel: str, done: asyncio.Future[Subscription]) -> None:
        """One that failed is forgotten, whoever still waits for it: the next call tries anew."""
        failed = done.cancelled() or done.exception() is not None
        if failed and self._subscriptions.get(channel) is done:
            del self._subscriptions[channel]

    async def close(self) -> None:
        """Let go of the connections, whatever has become of the subscriptions."""
        subscriptions = list(self._subscriptions.values())
        self._subscriptions.clear()
        try:
            for each in subscriptions:
                each.cancel()  # one that is still on its way
            for found in await asyncio.gather(*subscriptions, return_exceptions=True):
                if not isinstance(found, BaseException):
                    await found.close()
        finally:
            await self.store.close()


def _shows(head: Head, run_id: str | None, follow: bool) -> bool:
    """Whether the head is that of the run meant: None is any, and with ``follow`` a later one of its chain is."""
    return run_id in (None, head.run_id) or (follow and run_id is not None and goes_on_in(run_id, head.run_id))


def _went_on(admission: Admission, admitted: Admitted) -> bool:
    """Whether the door refused a message because the chain of the run it was for has come to another run."""
    refused = admitted.verdict in (AdmissionVerdict.CLOSED, AdmissionVerdict.NOT_FOUND)
    later = admitted.run_id != admission.run_id and goes_on_in(admission.run_id, admitted.run_id)
    return refused and later and admitted.status is Status.RUNNING


class _Watch:
    """An event that is set when a run of the instance has ended or parked; listened for from before the first look."""

    def __init__(self, access: Access, id: str) -> None:
        self._access = access
        self._id = id
        self._event = asyncio.Event()

    async def __aenter__(self) -> asyncio.Event:
        access = self._access
        await access._subscribe(access.store.notice_channel(self._id), access._on_notice)
        access._changed.setdefault(self._id, set()).add(self._event)
        return self._event

    async def __aexit__(self, *_error: object) -> None:
        watchers = self._access._changed[self._id]
        watchers.discard(self._event)
        if not watchers:
            del self._access._changed[self._id]
