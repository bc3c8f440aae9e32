"""What stands around sagas, activities and client calls: ``sagas.use(middleware)``.

Law: the first one in use is the outermost; each decides whether, when and how often what it surrounds happens, and sees
its result and its errors. Where none is in use, nothing costs anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, TypeVar

from sagas.errors import DefinitionError

C = TypeVar("C")
Next = Callable[[C], Awaitable[Any]]
"""What comes next: the following middleware, in the end the saga, activity or call itself."""

_Link = Callable[[C, Next[C]], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityCall:
    """One attempt of a step: ``activity`` is its name. ``sagas.step()`` says whose it is."""

    activity: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCall:
    """One call of a client or handle: ``operation`` is the method's name, ``id`` the instance's ("" for none).

    Its random ids are drawn once: made again with ``next(call)``, it is the same call, which is taken once.
    """

    operation: str
    id: str = ""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaRun:
    """One run of a saga, from its first line to its end; ``sagas.info()`` says more."""

    type: str
    id: str
    run_id: str


class Middleware:
    """Derive from it and override what you need; any object with one of these methods will do.

    What is not there, or only inherited, costs nothing.

    ``replace(call, args=...)`` (of ``dataclasses``) makes a call with other arguments, for ``next``.
    """

    async def activity(self, call: ActivityCall, next: Next[ActivityCall]) -> Any:
        """Around each attempt, in the process that makes it and within its timeouts, and again around the next.

        Also of plain functions, whose threads see the context variables that it sets.
        """
        return await next(call)

    async def client(self, call: ClientCall, next: Next[ClientCall]) -> Any:
        """Around each awaited call of a client or handle in this process; ``execute`` is its ``start`` and ``result``.

        Not around ``list()``, nor what the HTTP API and other sagas send.
        """
        return await next(call)

    async def saga(self, run: SagaRun, next: Next[SagaRun]) -> Any:
        """Around a run's code, inside the saga and under its law: it is replayed, and must be deterministic.

        It may await what sagas may; where it starts steps or timers it changes the histories of runs that go on, as
        any other change of their code (``patched()``). An error that it lets through is the saga's. ``next`` may be
        called once. Whoever leaves memory is dropped in the middle, with a GeneratorExit: count and log after ``next``
        has returned, or in ``except Exception``, not in ``finally``.
        """
        return await next(run)


class Chain(Generic[C]):
    """The middlewares around one kind of call, outermost first; false where there are none."""

    def __init__(self) -> None:
        self._links: Sequence[_Link[C]] = ()

    def set(self, links: Sequence[_Link[C]]) -> None:
        """From now on these."""
        self._links = tuple(links)

    def __bool__(self) -> bool:
        return bool(self._links)

    def around(self, last: Next[C]) -> Next[C]:
        """``last`` with all of them around it."""
        following = last
        for link in reversed(self._links):
            following = _linked(link, following)
        return following


activity_chain: Chain[ActivityCall] = Chain()
client_chain: Chain[ClientCall] = Chain()
saga_chain: Chain[SagaRun] = Chain()
_CHAINS: dict[str, Chain[Any]] = {"activity": activity_chain, "client": client_chain, "saga": saga_chain}
_in_use: list[object] = []


class Use:
    """A middleware in use; ``remove()``, or the end of a ``with`` block, takes it out again."""

    def __init__(self, middleware: object) -> None:
        self._middleware = middleware

    def remove(self) -> None:
        """What has begun keeps it."""
        _in_use[:] = [each for each in _in_use if each is not self._middleware]
        _link_all()

    def __enter__(self) -> Use:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def use(middleware: object) -> Use:
    """Put ``middleware`` (see ``Middleware``) around all sagas, activities and client calls of this process.

    Call it where a module is loaded, so that hosts and workers do it too. The first in use is the outermost; one that
    is in use already stays where it is. What it returns takes it out again: ``with sagas.use(...):`` in a test.

    Raises: DefinitionError when it has none of the three methods, or one that is no ``async def``.
    """
    if inspect.isclass(middleware):
        raise DefinitionError(f"sagas.use() takes an object, not the class {middleware.__name__}: make one of it")
    found = [method for name in _CHAINS if (method := _method(middleware, name)) is not None]
    if not found:
        raise DefinitionError(f"{middleware!r} has no method {', '.join(_CHAINS)} of its own: nothing to use")
    for method in found:
        if not inspect.iscoroutinefunction(method):
            raise DefinitionError(f"{method!r} must be `async def`: it awaits what comes next")
    if not any(each is middleware for each in _in_use):
        _in_use.append(middleware)
        _link_all()
    return Use(middleware)


def _link_all() -> None:
    for name, chain in _CHAINS.items():
        chain.set([method for each in _in_use if (method := _method(each, name)) is not None])


def _method(middleware: object, name: str) -> Any:
    """Its own method of this name; None where it has none, or only the one that does nothing."""
    if getattr(type(middleware), name, None) is getattr(Middleware, name):
        return None
    return getattr(middleware, name, None)


def _linked(link: _Link[C], following: Next[C]) -> Next[C]:
    return lambda call: link(call, following)
