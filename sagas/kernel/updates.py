"""Updates of a live instance: which are accepted, and what their handlers come to.

Law: an update begins, validator and handler together, when those before it have made their first step, so that its
validator sees what they did. A rejected one must leave nothing behind that a replay, which never meets it, would miss:
no task, no future, no number. Only one that was recorded while nothing ran is validated in replays too.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sagas.errors import ReadOnlyError
from sagas.kernel.events import (
    Event,
    UpdateAccepted,
    UpdateCompleted,
    UpdateFailed,
    UpdateReceived,
    UpdateRefused,
)
from sagas.kernel.failure import Failure, told
from sagas.kernel.handlers import Handler
from sagas.payloads import encode

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance

Received = UpdateReceived | UpdateAccepted


class Rejection(Exception):
    """Why an update is not accepted."""


class Updates:
    """Those of one instance that came and have not begun; and of this activation, what was found of the new ones."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._queue: list[Received] = []
        self._following: asyncio.Handle | None = None  # begins the next one, after the first step of the last one
        self._starting: list[Received] = []  # accepted, and their tasks have not begun
        self._left: set[str] = set()  # those that are the next run's
        self._new: set[str] = set()
        self._accepted: set[str] = set()
        self.rejected: dict[str, str] = {}

    def reset(self) -> None:
        """An activation begins."""
        self._new, self._accepted, self.rejected = set(), set(), {}

    @property
    def came(self) -> bool:
        """Whether any has come that is not recorded yet."""
        return bool(self._new)

    def kept(self, facts: Sequence[Event]) -> Sequence[Event]:
        """The new facts as they are to be recorded: without updates that were rejected, or came too late to begin.

        One that the next run is to begin stays what it was when it came.
        """
        return [
            _accepted(fact) if type(fact) is UpdateReceived and fact.message_id in self._accepted else fact
            for fact in facts
            if type(fact) is not UpdateReceived or fact.message_id in self._accepted | self._left
        ]

    def leave(self) -> list[Received]:
        """The run is about to be followed by another: returns those that have not begun, which are that one's."""
        if self._following is not None:
            self._following.cancel()
            self._following = None
        left = [*self._starting, *self._queue]
        self._starting, self._queue = [], []
        for fact in left:
            self._left.add(fact.message_id)
            self._accepted.discard(fact.message_id)
        return left

    def put_off(self, fact: Received, *, is_new: bool) -> None:
        """One has come that is the next run's."""
        self._instance.history_length -= 1
        self._left.add(fact.message_id)
        if is_new:
            self._new.add(fact.message_id)

    def take(self, fact: Received, *, is_new: bool) -> None:
        """One has come. A plain handler runs at once, unless others wait before it."""
        self._instance.history_length -= 1  # it counts when it begins: one that is rejected never does
        if is_new:
            self._new.add(fact.message_id)
        self._queue.append(fact)
        handler = self._handler(fact)
        if len(self._queue) == 1 and (handler is None or not inspect.iscoroutinefunction(handler.function)):
            self.begin()

    def all_rejected(self, facts: Sequence[Event]) -> bool:
        """All facts are applied: let those that wait begin. Returns whether nothing is left of the facts."""
        if self._queue and self._instance.loop.ready:  # others were woken before: it is their turn first
            self._follow()
        else:
            self.begin()
        return bool(self._new) and len(self.rejected) == len(facts)

    def begin_now(self) -> None:
        """As ``begin``, before the first step of those that have begun: the run is about to end."""
        if self._following is not None:
            self._following.cancel()
            self._following = None
        self.begin()

    def begin(self) -> None:
        """Begin those that wait, in order; those behind an async one follow its first step."""
        while self._queue and self._following is None:
            fact = self._queue.pop(0)
            try:
                code, handler = self._validated(fact)
            except Rejection as rejection:
                self._reject(fact, str(rejection))
                continue
            self._instance.history_length += 1
            self._accepted.add(fact.message_id)
            self._run(fact, code, is_async=inspect.iscoroutinefunction(handler.function))

    # --- accepting

    def _handler(self, fact: Received) -> Handler | None:
        return self._instance.saga_type.handlers.get(("update", fact.name))

    def _validated(self, fact: Received) -> tuple[Callable[[], Any], Handler]:
        """What to run. Raises: Rejection."""
        saga_type, handler, target = self._instance.saga_type, self._handler(fact), self._instance.target
        if handler is None:
            known = sorted(name for kind, name in saga_type.handlers if kind == "update")
            raise Rejection(f"{saga_type.name} has no update {fact.name!r}; it has {known}")
        if target is None:
            raise Rejection(f"{saga_type.name}.__init__ failed")
        try:
            args, kwargs = handler.signature.decode(fact.args)
        except Exception as error:  # undecodable, or arguments that do not fit
            raise Rejection(told(error)) from error
        if handler.validator is not None and type(fact) is UpdateReceived:
            self._validate(functools.partial(handler.validator, target, *args, **kwargs), fact.name)
        return functools.partial(handler.function, target, *args, **kwargs), handler

    def _validate(self, validator: Callable[[], Any], name: str) -> None:
        instance = self._instance
        before = (instance.loop.ready, instance.loop.numbered)
        try:
            with instance.reading():
                contextvars.Context().run(validator)
        except Exception as error:
            words = told(error)
            plain = words and not instance.parks_on(error)
            raise Rejection(words if plain else f"{type(error).__qualname__}: {words}") from error
        finally:
            if (instance.loop.ready, instance.loop.numbered) != before:
                # What it woke or made would be missing in every replay: nothing of this activation may count.
                instance.stop(ReadOnlyError(f"the validator of update {name!r} woke a task or made a future"))

    def _reject(self, fact: Received, reason: str) -> None:
        if type(fact) is UpdateReceived and fact.message_id in self._new:
            self.rejected[fact.message_id] = reason
        elif type(fact) is UpdateReceived:
            self._instance.decide(UpdateRefused(fact.message_id, reason, at_ms=self._instance.now_ms))
        else:  # accepted by code that knew it; the code of today does not
            self._failed(fact, Rejection(reason))

    # --- running

    def _run(self, fact: Received, code: Callable[[], Any], *, is_async: bool) -> None:
        # A context of its own: what a handler does belongs to no scope of the code it interrupts.
        context = contextvars.Context()
        if is_async:
            self._starting.append(fact)
            self._instance.start_handler(self._handle(fact, code), f"update {fact.name}", context)
            self._follow()
            return
        try:
            result = encode(context.run(code))
        except (Exception, SystemExit) as error:
            self._failed(fact, error)
        else:
            self._completed(fact, result)

    async def _handle(self, fact: Received, code: Callable[[], Any]) -> None:
        if fact.message_id in self._left:
            return
        self._starting = [each for each in self._starting if each is not fact]
        try:
            result = encode(await code())
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            self._failed(fact, error)
        else:
            self._completed(fact, result)

    def _completed(self, fact: Received, result: bytes) -> None:
        self._instance.decide(UpdateCompleted(fact.message_id, result, at_ms=self._instance.now_ms))

    def _failed(self, fact: Received, error: BaseException) -> None:
        row = Failure.of(error).row()
        self._instance.decide(UpdateFailed(fact.message_id, row, at_ms=self._instance.now_ms))

    def _follow(self) -> None:
        self._following = self._instance.loop.call_soon(self._next)

    def _next(self) -> None:
        self._following = None
        self.begin()


def _accepted(fact: UpdateReceived) -> UpdateAccepted:
    return UpdateAccepted(fact.message_id, fact.name, fact.args, fact.reply_to, fact.trace, at_ms=fact.at_ms)
