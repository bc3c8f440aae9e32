"""Client calls as middleware sees them: each with ids of its own, so that one made again is the same call.

Law: whatever middleware does with a call, the store takes its message once.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from sagas.ids import new_message_id
from sagas.kernel.middleware import ClientCall, client_chain

T = TypeVar("T", bound=type)

_drawing: contextvars.ContextVar[_Ids | None] = contextvars.ContextVar("sagas_call_ids", default=None)


class _Ids:
    """The random ids of one making of a call; ``drawn`` is shared by all makings of it."""

    def __init__(self, drawn: list[str]) -> None:
        self._drawn = drawn
        self._next = 0

    def draw(self) -> str:
        if self._next == len(self._drawn):
            self._drawn.append(uuid.uuid4().hex)
        self._next += 1
        return self._drawn[self._next - 1]


def call_id() -> str:
    """A random id of the call that is being made."""
    ids = _drawing.get()
    return uuid.uuid4().hex if ids is None else ids.draw()


def call_message_id(given: str | None) -> str:
    """The message id a caller gave, checked, or one of the call's own. Raises: InvalidArgument."""
    return call_id() if given is None else new_message_id(given)


def client_calls(*apart: str) -> Callable[[T], T]:
    """Puts the middleware in use around every public coroutine method of a class, but for those named."""

    def decorate(cls: T) -> T:
        for name, method in list(vars(cls).items()):
            if inspect.iscoroutinefunction(method) and not name.startswith("_") and name not in apart:
                setattr(cls, name, _surrounded(name, method))
        return cls

    return decorate


def _surrounded(operation: str, method: Callable[..., Any]) -> Callable[..., Any]:
    chooses_id = "id" in inspect.signature(method).parameters

    @functools.wraps(method)
    async def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not client_chain:
            return await method(self, *args, **kwargs)
        if chooses_id and kwargs.get("id") is None:
            kwargs["id"] = uuid.uuid4().hex
        drawn: list[str] = []

        async def last(call: ClientCall) -> Any:
            token = _drawing.set(_Ids(drawn))
            try:
                return await method(self, *call.args, **call.kwargs)
            finally:
                _drawing.reset(token)

        id = kwargs["id"] if chooses_id else getattr(self, "id", "")
        return await client_chain.around(last)(ClientCall(operation=operation, id=id, args=args, kwargs=kwargs))

    return called
