"""From a request to a message at an instance's door; each function returns once the message is durable.

Law: every id in a message comes from its ``RequestKey``, so that the request that is sent again makes the same message.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from sagas import completing
from sagas.client import Client, start_admission, start_message
from sagas.engine.message import Cancel, Message, Pause, Resume, Signal, Terminate, encode_message
from sagas.errors import SagaAlreadyStarted
from sagas.http.answers import Accepted, Pending, Started
from sagas.http.bodies import SignalWithStartBody, StartBody
from sagas.http.key import RequestKey, id_of, key_of
from sagas.http.seen import has_begun, require_same
from sagas.ids import check_id
from sagas.kernel.handlers import handler_args
from sagas.kernel.token import Token
from sagas.store.port import Admission, Admitted
from sagas.telemetry.caller import current_traceparent
from sagas.updating import UpdateCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an operator asks of a run; ``words`` is the reason, or who asks."""

    name: Literal["cancel", "terminate", "pause", "resume"]
    words: str

    def message(self, id: str) -> Message:
        """As it is sent."""
        match self.name:
            case "cancel":
                return Cancel(message_id=id, trace=current_traceparent(), reason=self.words)
            case "terminate":
                return Terminate(message_id=id, trace=current_traceparent(), reason=self.words)
            case "pause":
                return Pause(message_id=id, trace=current_traceparent(), by=self.words)
            case "resume":
                return Resume(message_id=id, trace=current_traceparent(), by=self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A handler and its arguments."""

    name: str
    args: list[Any]


async def start(client: Client, body: StartBody, header: str | None) -> Started:
    """Begin a run."""
    id = check_id(id_of(header) if body.id is None else body.id)
    key = key_of(header, "start", id, body.model_dump())
    message = start_message(
        body.type,
        handler_args(body.type, tuple(body.args)),
        body.attributes,
        body.start_delay,
        message_id=key.mail_id,
        run_id=key.run_id,
    )
    admission = start_admission(message, id, body.on_conflict, body.on_reuse, key.message_id)
    return await _begin(client, admission, key)


async def signal_with_start(client: Client, id: str, body: SignalWithStartBody, header: str | None) -> Started:
    """Signal the run that goes on; where none does, begin one first."""
    key = key_of(header, "signal-with-start", id, body.model_dump())
    started = start_message(
        body.type, handler_args(body.type, tuple(body.args)), None, message_id=f"{key.mail_id}-start", run_id=key.run_id
    )
    signalled = _signal(key.mail_id, body.signal, body.signal_args)
    admission = Admission(
        id=id,
        kind="start_or_message",
        message_id=key.message_id,
        mail=encode_message(signalled),
        start_mail=encode_message(started),
        run_id=key.run_id,
    )
    return await _begin(client, admission, key)


async def signal(client: Client, id: str, run_id: str | None, call: Call, header: str | None) -> Accepted:
    """Signal a run."""
    key = key_of(header, f"signal {call.name}", id, [run_id, call.args])
    return await _send(client, id, run_id, _signal(key.mail_id, call.name, call.args), key)


async def order(client: Client, id: str, run_id: str | None, order: Order, header: str | None) -> Accepted:
    """Send an order to a run."""
    key = key_of(header, order.name, id, [run_id, order.words])
    return await _send(client, id, run_id, order.message(key.mail_id), key)


async def update(
    client: Client, id: str, run_id: str | None, call: Call, header: str | None, wait_s: float
) -> bytes | Pending:
    """Send an update and wait for its outcome: a value, or that it has none within ``wait_s``.

    Raises: UpdateRejected, UpdateFailed.
    """
    # The key alone names it: who sends it again, whatever the body, gets the outcome of the first.
    key = key_of(header, f"update {call.name}", id, None)
    args = handler_args(call.name, tuple(call.args))
    order = UpdateCall(message_id=key.message_id, name=call.name, args=args, trace=current_traceparent())
    try:
        return await client.access.update(id, run_id, order, wait_s)
    except TimeoutError:
        return Pending(id=id)


async def complete(client: Client, token: str, value: Any, header: str | None) -> Accepted:
    """Give a callback its value."""
    key = key_of(header, "complete", token, value)
    return _answered(token, await completing.complete(client.access, token, value, key.mail_id if key.given else None))


async def fail(client: Client, token: str, error: str, header: str | None) -> Accepted:
    """Say that a callback failed."""
    key = key_of(header, "fail", token, error)
    return _answered(token, await completing.fail(client.access, token, error, key.mail_id if key.given else None))


def _answered(token: str, admitted: Admitted) -> Accepted:
    return Accepted(id=Token.parse(token).id, run_id=admitted.run_id)


def _signal(message_id: str, name: str, args: list[Any]) -> Signal:
    return Signal(message_id=message_id, trace=current_traceparent(), name=name, args=handler_args(name, tuple(args)))


async def _begin(client: Client, admission: Admission, key: RequestKey) -> Started:
    store = client.access.store
    if await has_begun(store, admission.id, key):
        await _confirm(client, admission)
        return Started(id=admission.id, run_id=key.run_id, started=True)
    admitted = await client.access.admit(admission)
    await require_same(store, admission.id, key, admitted)
    return Started(id=admission.id, run_id=admitted.run_id, started=admitted.run_id == key.run_id)


async def _confirm(client: Client, admission: Admission) -> None:
    """Return when the start, which was read in the store, is as durable as a new one: in ``ha`` reading proves nothing.

    A start that cannot be allowed, because its run, or a later one, has the id, writes nothing and waits all the same.
    """
    start = admission.start_mail or admission.mail
    with suppress(SagaAlreadyStarted):
        await client.access.admit(replace(admission, kind="start", mail=start, on_conflict="fail", on_reuse="reject"))


async def _send(client: Client, id: str, run_id: str | None, message: Message, key: RequestKey) -> Accepted:
    admitted = await client.get(id, run_id).send(message, key.message_id)
    await require_same(client.access.store, id, key, admitted)
    return Accepted(id=id, run_id=admitted.run_id)
