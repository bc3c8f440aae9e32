"""How a client waits for an update: sends it once, asks again when nobody tells it, reads what is recorded.

Law: one id, one outcome. The message id names the update for ever, at the door (which takes it once), in the history
(which records its outcome) and in every answer; so whoever sends it again, from anywhere, gets the first one's outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sagas.ending import CLOSINGS, status_of
from sagas.engine.message import CLOSED, OPEN, RECORDED, REJECTED, Reply, Update, UpdateAsked, encode_message
from sagas.engine.updates import outcome
from sagas.errors import SagaClosed, UpdateFailed, UpdateRejected
from sagas.ids import new_message_id
from sagas.kernel import events
from sagas.kernel.events import Event
from sagas.patience import Patience
from sagas.payloads.sealing import opened_words
from sagas.store.port import Admission, AdmissionVerdict, Admitted

AGAIN_S = 2.0
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCall:
    """An update as it is asked for. ``known_as``: the id the door remembers it by, "" for its own."""

    message_id: str
    name: str
    args: bytes
    trace: str = ""
    known_as: str = ""


@dataclass(slots=True, eq=False)
class _Caller:
    """Somebody who waits for an update; ``changed`` is set when there is something to look at."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    reply: Reply | None = None


class Admit(Protocol):
    """Sends a message in; with ``follow``, to the run that its chain has come to."""

    def __call__(self, admission: Admission, /, *, follow: bool = False) -> Awaitable[Admitted]: ...


class UpdateCalls:
    """Of one client, on its event loop."""

    def __init__(
        self,
        admit: Admit,
        history: Callable[[str, str], Awaitable[list[Event]]],
        patience: Patience,
    ) -> None:
        self._admit = admit
        self._history = history
        self._patience = patience
        self._callers: dict[str, set[_Caller]] = {}

    def heard(self, reply: Reply) -> None:
        """A host told something."""
        for caller in self._callers.get(reply.message_id, ()):
            if reply.standing == OPEN and caller.reply is not None:
                continue  # what was told first may come last
            caller.reply = reply
            caller.changed.set()

    def missed(self) -> None:
        """Something may have been told and not been heard."""
        for caller in (caller for callers in self._callers.values() for caller in callers):
            caller.changed.set()

    async def call(
        self, id: str, run_id: str, call: UpdateCall, reply_to: str, until: float | None, *, follow: bool = False
    ) -> bytes:
        """The encoded outcome of an update, of this run only ("" = the current one), or with ``follow`` of its chain.

        Raises: UpdateRejected, UpdateFailed, SagaNotFound, SagaClosed; TimeoutError at ``until``.
        """
        update = Update(message_id=call.message_id, trace=call.trace, name=call.name, args=call.args, reply_to=reply_to)
        mail = encode_message(update)
        known_as = call.known_as or call.message_id
        with self._calling(update.update_id) as caller:
            admitted = await self._admit(
                Admission(id=id, kind="message", message_id=known_as, mail=mail, run_id=run_id), follow=follow
            )
            if admitted.verdict is not AdmissionVerdict.KNOWN:
                await self._settle(caller, until)
            again_s = AGAIN_S
            while True:
                if (answer := await self._answer(id, update.name, admitted.run_id, caller)) is not None:
                    return answer
                if until is not None and self._patience.now() >= until:
                    raise TimeoutError(
                        f"update {update.name!r} of saga {id!r} has no outcome yet: send it again with "
                        f"message_id={update.update_id!r} to wait on"
                    )
                await self._ask(id, update, admitted.run_id)
                await self._settle(caller, until)
                if (answer := await self._answer(id, update.name, admitted.run_id, caller)) is not None:
                    return answer
                await self._patience.wait(caller.changed, again_s, until)
                again_s = min(2 * again_s, _LONGEST_S)

    async def _settle(self, caller: _Caller, until: float | None) -> None:
        left_s = AGAIN_S if until is None else min(AGAIN_S, max(0.0, until - self._patience.now()))
        await self._patience.settle(caller.changed, left_s)

    async def _ask(self, id: str, update: Update, run_id: str) -> None:
        asked = UpdateAsked(
            message_id=new_message_id(None),
            trace=update.trace,
            update_id=update.update_id,
            run_id=run_id,
            name=update.name,
            args=update.args,
            reply_to=update.reply_to,
        )
        mail = encode_message(asked)
        await self._admit(Admission(id=id, kind="read", message_id=asked.message_id, mail=mail, remember_ms=60_000))

    async def _answer(self, id: str, name: str, run_id: str, caller: _Caller) -> bytes | None:
        """What was told, if it is an outcome."""
        caller.changed.clear()
        reply, caller.reply = caller.reply, None
        if reply is not None and reply.standing == RECORDED:
            reply = await self._recorded(id, reply.run_id or run_id, reply.message_id)
        return None if reply is None or reply.standing == OPEN else _value(id, name, reply)

    async def _recorded(self, id: str, run_id: str, update_id: str) -> Reply | None:
        """What the histories of a run's chain say of an update. Raises: SagaClosed when it ended without it."""
        history = await self._history(id, run_id)
        for event in reversed(history):
            if (
                isinstance(event, events.UpdateCompleted | events.UpdateFailed | events.UpdateRefused)
                and event.message_id == update_id
            ):
                return outcome(event)
        if history and isinstance(history[-1], events.RunContinued):
            return await self._recorded(id, history[-1].next_run, update_id)
        if history and isinstance(history[-1], CLOSINGS):
            raise SagaClosed(id, status_of(history[-1]))
        return None

    @contextmanager
    def _calling(self, update_id: str) -> Iterator[_Caller]:
        caller = _Caller()
        self._callers.setdefault(update_id, set()).add(caller)
        try:
            yield caller
        finally:
            self._callers[update_id].discard(caller)
            if not self._callers[update_id]:
                del self._callers[update_id]


def _value(id: str, name: str, reply: Reply) -> bytes:
    if reply.error is None:
        assert reply.value is not None, "a reply is a value or an error"
        return reply.value
    cause_type, words = reply.error[0], opened_words(reply.error[1])
    if reply.standing == REJECTED:
        raise UpdateRejected(name, words)
    if reply.standing == CLOSED:
        raise SagaClosed(id, words)
    raise UpdateFailed(name, cause_type, words)
