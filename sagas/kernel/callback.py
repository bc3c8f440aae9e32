"""Callbacks: a token for somebody outside, and a saga that waits until its holder has answered.

Law: the first answer counts and is a fact. What came from outside never parks a run: an answer that is not of the type
that was asked for fails in the saga, as an activity that raised does.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from compensations import Outcome
from sagas.errors import ActivityFailed, CodecError, PayloadError
from sagas.kernel.current import current
from sagas.kernel.events import CallbackCompleted, CallbackFailed, CallbackOpened
from sagas.kernel.failure import Failure
from sagas.kernel.token import SECRET_BYTES, Token
from sagas.kernel.unguarded import unguarded
from sagas.payloads import decode

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance

T = TypeVar("T")
Answered = CallbackCompleted | CallbackFailed

NAME = "callback"
"""What errors name in the place of an activity."""


class Callback(Generic[T]):
    """Await it for the value; give ``token`` away first. It may be awaited often, and by several."""

    __slots__ = ("_answer", "_instance", "_returns", "_waiting", "token")

    def __init__(self, instance: Instance, opened: CallbackOpened, returns: object) -> None:
        started = instance.started
        self.token = Token(id=started.id, run_id=started.run_id, number=opened.number, secret=opened.secret).text()
        self._instance = instance
        self._returns = returns
        self._answer: Answered | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def __await__(self) -> Generator[Any, None, T]:
        """The value it is completed with.

        Raises: what it is failed with (a known subclass of Rejected or Permanent as itself, else ActivityFailed);
        ActivityFailed when the value is not of the type that ``callback`` was given.
        """
        return self._value().__await__()

    async def _value(self) -> T:
        if self._answer is None:
            future = self._instance.loop.create_future()
            self._waiting.append(future)
            await future
        answer = self._answer
        assert answer is not None, "whoever is woken has an answer"
        if isinstance(answer, CallbackFailed):
            raise Failure.from_row(answer.failure).exception(NAME, 1)
        try:
            return cast("T", decode(answer.result, self._returns))
        except CodecError:
            raise
        except Exception as error:
            words = f"it was completed with a value of another type: {error}"
            raise ActivityFailed(NAME, 1, PayloadError.__name__, words, Outcome.UNKNOWN) from error

    def answered(self, fact: Answered) -> None:
        """The answer has come."""
        self._answer = fact
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def __repr__(self) -> str:
        return f"<callback of {self._instance.started.id!r}>"


@overload
def callback() -> Callback[Any]: ...
@overload
def callback(returns: type[T], /) -> Callback[T]: ...
def callback(returns: object = Any, /) -> Callback[Any]:
    """A token that somebody outside completes or fails, with ``client.complete(cb.token, value)``; then await it.

    ``returns``: the type of the value. The token leaves with what the saga does next (an argument of an activity, an
    answer to a query), so nobody has it before the callback is durable; it is of no use once the run has ended.
    Raises: NotInSaga; ReadOnlyError in a query.
    """
    instance = current("sagas.callback()")
    number = instance.next_sequence()
    with unguarded():  # recorded, and read from the history ever after
        secret = b"" if instance.replaying else secrets.token_bytes(SECRET_BYTES)
    opened = instance.decide(CallbackOpened(number, secret, at_ms=instance.now_ms))
    made: Callback[Any] = Callback(instance, opened, returns)
    instance.callbacks[number] = made
    return made
