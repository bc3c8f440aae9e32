"""Messages from one saga to another: ``sagas.instance(id)``, to signal it or to cancel it.

Law: a message is a decision like a step; it leaves with the commit that records it, once for ever, under an id that
follows from the run and its number. So nothing that happens to the sender afterwards, a crash or a replay or its end,
can lose it or send it twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVarTuple

from sagas.errors import InvalidArgument, SagaClosed, SagaError, SagaNotFound
from sagas.ids import check_id
from sagas.kernel.current import current
from sagas.kernel.events import CANCEL, CLOSED, NOT_FOUND, SIGNAL, MessageRefused, MessageSent
from sagas.kernel.handlers import handler_args, handler_name
from sagas.payloads import encode

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance

Ts = TypeVarTuple("Ts")
NO_ARGS = encode([])


class OtherInstance:
    """Another instance, as saga code sees it; made by ``sagas.instance(id)``."""

    __slots__ = ("id",)

    def __init__(self, id: str) -> None:
        self.id = id

    async def signal(self, signal: Callable[[Any, *Ts], Any] | str, *args: *Ts) -> None:
        """Send a signal; returns once it is durable at its target, whether or not that runs.

        Cancelled while it waits, the message is on its way all the same. Raises: SagaNotFound, SagaClosed;
        ArgumentMismatch, PayloadError and InvalidArgument, when nothing was sent.
        """
        await self._send(SIGNAL, handler_name(signal, "signal"), handler_args(signal, args))

    async def cancel(self, reason: str = "") -> None:
        """Ask its run to cancel; returns once that is durable, and does not wait for the end of the run.

        Cancelled while it waits, the message is on its way all the same. Raises: SagaNotFound, SagaClosed.
        """
        if not isinstance(reason, str):
            raise InvalidArgument(f"the reason of a cancel is text, not {reason!r}")
        await self._send(CANCEL, "", NO_ARGS, reason)

    async def _send(self, kind: str, name: str, args: bytes, reason: str = "") -> None:
        instance = current(f"sagas.instance().{kind}()")
        if self.id == instance.started.id:
            instead = "call the method" if kind == SIGNAL else "return, or raise an error"
            raise InvalidArgument(f"saga {self.id!r} tried to {kind} itself: {instead}")
        await delivered(instance, send(instance, self.id, kind, name=name, args=args, reason=reason))

    def __repr__(self) -> str:
        return f"<instance {self.id!r}>"


def instance(id: str) -> OtherInstance:
    """Another instance, by its id: ``await sagas.instance("sub-1").signal(Subscription.cancel)``.

    Whether there is one is found out by sending. Raises: NotInSaga outside a saga (a client has ``client.get(id)``);
    InvalidArgument when ``id`` cannot be one.
    """
    current("sagas.instance()")
    return OtherInstance(check_id(id))


def send(
    instance: Instance, target: str, kind: str, *, name: str = "", args: bytes, reason: str = "", child: int = 0
) -> MessageSent:
    """Decide to send a message; it is on its way whether or not anybody waits for the answer."""
    number = instance.next_sequence()
    return instance.decide(MessageSent(number, target, kind, name, args, reason, child, at_ms=instance.now_ms))


async def delivered(instance: Instance, sent: MessageSent) -> None:
    """Return once it is durable at its target. Raises: SagaNotFound, SagaClosed."""
    answer = await instance.expect_answer(sent.number)
    if isinstance(answer, MessageRefused):
        raise _refusal(sent, answer)


def message_id_of(run_id: str, number: int) -> str:
    """The id under which the message ``number`` of a run is known at its target; the same however often it is sent."""
    return f"{run_id}/{number}"


def _refusal(sent: MessageSent, answer: MessageRefused) -> SagaError:
    if answer.reason == NOT_FOUND:
        return SagaNotFound(sent.target)
    return SagaClosed(sent.target, answer.status or CLOSED)
