"""An activity: the declaration of work that touches the world, and of what undoes it.

Law: calling one inside a saga is a durable step; outside one it is the plain function, so that it can be tested.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from compensations import UNDO, Retry
from sagas.errors import DefinitionError
from sagas.kernel.current import ACTIVE
from sagas.kernel.duration import Duration, optional_ms
from sagas.kernel.resources import RayResources, checked_resources
from sagas.kernel.step import StepCall
from sagas.payloads import Signature
from sagas.value import value

P = ParamSpec("P")
R = TypeVar("R")

definitions: list[Any] = []
"""Every activity and saga type this process has declared, in order; registries pick from it by module."""


@value(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How a step is run. Times in ms; None means no limit."""

    retry: Retry = Retry()
    timeout_ms: int | None = None
    total_timeout_ms: int | None = None
    queue_timeout_ms: int | None = None
    heartbeat_timeout_ms: int | None = None
    queue: str = "default"
    priority: int = 0
    local: bool = False
    ray: Mapping[str, Any] | None = None

    def merged(self, overrides: Mapping[str, Any] | None) -> StepOptions:
        """These options with what one call overrides (the stored form of ``Activity.options``)."""
        if not overrides:
            return self
        changes = dict(overrides)
        if "retry" in changes:
            changes["retry"] = replace(self.retry, **changes["retry"])
        return replace(self, **changes)


class Activity(Generic[P, R]):
    """A declared activity; made by ``@activity``."""

    def __init__(self, function: Callable[..., Any], name: str, options: StepOptions, undo_of: str = "") -> None:
        self.function = function
        self.name = name
        self.defaults = options
        self.undo_of = undo_of
        self.undo: Activity[..., Any] | None = None
        self.overrides: dict[str, Any] | None = None
        self.compensated = True
        self.is_async = inspect.iscoroutinefunction(function)
        self.__module__ = function.__module__
        self.__name__ = name
        self.__qualname__ = function.__qualname__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    @functools.cached_property  # when it is first wanted: annotations may name what comes later in the module
    def signature(self) -> Signature:
        """How its arguments and its result are encoded."""
        return Signature.of(self.function)

    # Coroutine[object, None, R] and not [Any, Any, R]: with Any, mypy gives up on asyncio.gather() of several types.
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, None, R]:
        if ACTIVE.instance is not None:
            return StepCall(self, args, kwargs)
        result: Coroutine[object, None, R] = self.function(*args, **kwargs)
        return result

    def options(
        self,
        *,
        timeout: Duration | None = None,
        total_timeout: Duration | None = None,
        queue_timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        retry: Retry | None = None,
        queue: str | None = None,
        priority: int | None = None,
        local: bool | None = None,
        ray: RayResources | None = None,
        compensate: bool = True,
    ) -> Activity[P, R]:
        """The same activity with other options for the calls made through what this returns."""
        given: dict[str, Any] = {
            "timeout_ms": optional_ms(timeout, "timeout"),
            "total_timeout_ms": optional_ms(total_timeout, "total_timeout"),
            "queue_timeout_ms": optional_ms(queue_timeout, "queue_timeout"),
            "heartbeat_timeout_ms": optional_ms(heartbeat_timeout, "heartbeat_timeout"),
            "retry": _stored_retry(retry),
            "queue": queue,
            "priority": priority,
            "local": local,
            "ray": checked_resources(ray, "options"),
        }
        other: Activity[P, R] = Activity(self.function, self.name, self.defaults, self.undo_of)
        other.undo = self.undo
        other.overrides = {key: value for key, value in given.items() if value is not None} or None
        other.compensated = compensate
        return other

    @overload
    def compensation(self, function: Callable[..., Any], /) -> Activity[..., Any]: ...
    @overload
    def compensation(
        self,
        *,
        retry: Retry = UNDO,
        timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        queue: str | None = None,
        name: str | None = None,
        ray: RayResources | None = None,
    ) -> Callable[[Callable[..., Any]], Activity[..., Any]]: ...
    def compensation(  # type: ignore[misc]  # the overloads say which parameters go together
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        retry: Retry = UNDO,
        timeout: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        queue: str | None = None,
        name: str | None = None,
        ray: RayResources | None = None,
    ) -> Any:
        """Declare what undoes it: called with its result (None when unknown), then its arguments.

        The undo is tried for ever by default (``retry``), in the action's own queue; resources it asks for itself.
        Raises: DefinitionError when there is an undo already, or it cannot take these arguments.
        """
        asked = checked_resources(ray, "@compensation")

        def declare(undo: Callable[..., Any]) -> Activity[..., Any]:
            if self.undo is not None:
                raise DefinitionError(f"activity {self.name!r} has a compensation already ({self.undo.name!r})")
            _check_undo_arity(self, undo)
            options = replace(
                self.defaults,
                retry=retry,
                timeout_ms=optional_ms(timeout, "timeout") or self.defaults.timeout_ms,
                total_timeout_ms=None,
                queue_timeout_ms=None,  # an undo is never dropped because workers are busy
                heartbeat_timeout_ms=optional_ms(heartbeat_timeout, "heartbeat_timeout"),
                queue=queue or self.defaults.queue,
                ray=asked,
            )
            self.undo = Activity(undo, name or undo.__name__, options, undo_of=self.name)
            definitions.append(self.undo)
            return self.undo

        return declare if function is None else declare(function)

    def __repr__(self) -> str:
        return f"<activity {self.name!r} of {self.__module__}>"


def _stored_retry(retry: Retry | None) -> dict[str, Any] | None:
    if retry is None:
        return None
    stored = {name: getattr(retry, name) for name in retry.__dataclass_fields__}
    if stored.pop("fatal", ()):
        raise DefinitionError(
            "Retry(fatal=...) names classes, which a history cannot hold: put it on @activity(retry=...)"
        )
    return stored


def _check_undo_arity(action: Activity[..., Any], undo: Callable[..., Any]) -> None:
    """An undo takes one argument more than its action; find out at import, not in the middle of a failure."""
    wanted = [p for p in inspect.signature(action.function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    try:
        placeholders = [object() for p in wanted if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        named = {p.name: object() for p in wanted if p.kind is p.KEYWORD_ONLY}
        inspect.signature(undo).bind(object(), *placeholders, **named)
    except TypeError as error:
        shown = f"({', '.join(['result', *(p.name for p in wanted)])})"
        raise DefinitionError(
            f"the compensation {undo.__qualname__!r} must take the result of {action.name!r}, then its arguments: "
            f"{shown}; {error}"
        ) from None


class _Decorator(Protocol):
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Activity[P, R]: ...


@overload
def activity(function: Callable[P, Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
@overload
def activity(function: Callable[P, R], /) -> Activity[P, R]: ...
@overload
def activity(
    *,
    name: str | None = None,
    retry: Retry = ...,
    timeout: Duration | None = None,
    total_timeout: Duration | None = None,
    queue_timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    queue: str = "default",
    priority: int = 0,
    local: bool = False,
    ray: RayResources | None = None,
) -> _Decorator: ...
def activity(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    total_timeout: Duration | None = None,
    queue_timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    queue: str = "default",
    priority: int = 0,
    local: bool = False,
    ray: RayResources | None = None,
) -> Any:
    """Declare a function that touches the world; awaited inside a saga it is a durable, retried step.

    ``timeout`` bounds one attempt, ``total_timeout`` all of them, ``heartbeat_timeout`` the silence between two
    ``sagas.heartbeat()``: an attempt that is silent for longer is given up and tried again, and may, until it notices,
    run beside its successor. ``queue_timeout`` bounds an attempt's wait for a worker (and its thread): past it the step
    fails with outcome NONE, since another attempt would only wait again. Arguments and result must be encodable.
    ``ray={"num_gpus": 1}`` gives each attempt a process of its own with these resources, where workers are on Ray (it
    has one CPU unless ``num_cpus`` is said); elsewhere it changes nothing. Raises: DefinitionError.
    """
    if ray is not None and (local or queue != "default"):
        raise DefinitionError("@activity(ray=...) has a process for each attempt: it goes with neither local nor queue")
    options = StepOptions(
        retry=retry or Retry(),
        timeout_ms=optional_ms(timeout, "timeout"),
        total_timeout_ms=optional_ms(total_timeout, "total_timeout"),
        queue_timeout_ms=optional_ms(queue_timeout, "queue_timeout"),
        heartbeat_timeout_ms=optional_ms(heartbeat_timeout, "heartbeat_timeout"),
        queue=queue,
        priority=priority,
        local=local,
        ray=checked_resources(ray, "@activity"),
    )

    def declare(declared: Callable[..., Any]) -> Activity[..., Any]:
        if not callable(declared) or inspect.isclass(declared) or inspect.isasyncgenfunction(declared):
            raise DefinitionError(f"@activity takes a def or async def function, not {declared!r}")
        made: Activity[..., Any] = Activity(declared, name or declared.__name__, options)
        definitions.append(made)
        return made

    return declare if function is None else declare(function)
