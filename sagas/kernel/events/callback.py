"""Events of callbacks: one opened, and how somebody outside answered it."""

from __future__ import annotations

from typing import ClassVar

from sagas.kernel.events.base import Decision, Fact, tagged
from sagas.kernel.events.run import FailureRow
from sagas.value import value


@tagged(80)
@value(frozen=True, slots=True)
class CallbackOpened(Decision):
    """The code asked for a token. ``secret`` is what makes it: random, and the recorded one in every replay."""

    IDENTITY: ClassVar[tuple[str, ...]] = ("number",)

    number: int
    secret: bytes


@tagged(81)
@value(frozen=True, slots=True)
class CallbackCompleted(Fact):
    """Whoever had the token gave a value; ``result`` is an encoded one."""

    number: int
    result: bytes
    message_id: str = ""


@tagged(82)
@value(frozen=True, slots=True)
class CallbackFailed(Fact):
    """Whoever had the token said that it failed."""

    number: int
    failure: FailureRow
    message_id: str = ""
