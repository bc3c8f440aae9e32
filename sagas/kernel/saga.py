"""A saga type: the declaration of a durable flow, as a function or as a class with ``run``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from compensations import Retry
from sagas.errors import Declared, DefinitionError, InvalidArgument, NondeterminismError, PayloadError
from sagas.kernel.activity import definitions
from sagas.kernel.definition import check_class, check_function
from sagas.kernel.duration import END_MS, Duration, optional_ms, retention_ms
from sagas.kernel.events import CONTINUOUS, EPISODES
from sagas.kernel.handlers import Handler, Kind, handlers_of
from sagas.kernel.resources import RayResources, checked_resources
from sagas.limits import RETENTION_DAYS
from sagas.payloads import Signature

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
C = TypeVar("C", bound=type)

BUGS: tuple[type[BaseException], ...] = (
    NameError,
    AttributeError,
    TypeError,
    LookupError,
    AssertionError,
    ImportError,
    NondeterminismError,
)
"""Exceptions that only a bug makes: they park the instance instead of failing it."""

TraceMode = Literal["episodes", "continuous"]

PlacementMode = Literal["pooled", "dedicated"]
POOLED: PlacementMode = "pooled"
DEDICATED: PlacementMode = "dedicated"

MARK = "__saga_type__"


class RunsTo(Protocol[R_co]):
    """A class saga: an object whose ``run()`` ends with a result."""

    async def run(self) -> R_co: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaType:
    """What a host needs to know to run instances of one saga."""

    name: str
    target: Callable[..., Any]  # the function, or the class
    is_class: bool
    module: str
    park_on: tuple[type[BaseException], ...] = BUGS
    handlers: dict[tuple[Kind, str], Handler] = field(default_factory=dict)
    trace_mode: TraceMode = EPISODES  # what a run records when it starts
    timeout_ms: int | None = None  # of a whole chain of runs
    retry: Retry | None = None  # of a run that failed; None: never
    retention_ms: int | None = retention_ms(RETENTION_DAYS)  # of an ended run; None: for ever
    placement: PlacementMode = POOLED
    ray: Mapping[str, Any] | None = None  # resources of the process of its own

    def deadline_ms(self, begins_ms: int) -> int:
        """When a run that begins then is to be over at the latest; 0: never."""
        return 0 if self.timeout_ms is None else min(begins_ms + self.timeout_ms, END_MS)

    @property
    def arguments(self) -> Signature:
        """Of the function, or of the class's ``__init__``."""
        return Signature.of(self.target)

    @property
    def returns(self) -> object:
        """The annotated type of the result."""
        run = self.target.run if self.is_class else self.target  # type: ignore[attr-defined]
        return Signature.of(run, skip_self=self.is_class).returns

    def parks_on(self, error: BaseException) -> bool:
        """Whether only a bug raises ``error``. A value that cannot be encoded, or a wrong declaration, is one too."""
        if isinstance(error, BaseExceptionGroup):  # of a TaskGroup: one bug is enough
            return any(self.parks_on(each) for each in error.exceptions)
        kinds: tuple[type[BaseException], ...] = (*self.park_on, PayloadError, NondeterminismError, DefinitionError)
        if isinstance(error, Declared):  # said on purpose, so no bug, though it may be a LookupError as well
            kinds = tuple(kind for kind in kinds if issubclass(kind, Declared) or issubclass(Declared, kind))
        return isinstance(error, kinds)


class SagaFunction(Generic[P, R]):
    """A saga declared as a function; calling it outside a host just calls the function."""

    def __init__(self, function: Callable[P, Coroutine[Any, Any, R]], saga_type: SagaType) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        setattr(self, MARK, saga_type)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<saga {self.__name__!r} of {self.__module__}>"  # type: ignore[attr-defined]


class _Decorator:
    """What ``@saga(...)`` with options returns; typed for functions and classes."""

    def __init__(self, name: str | None, options: dict[str, Any]) -> None:
        """``options``: fields of the saga type, as they were given."""
        self._name = name
        self._options = options

    @overload
    def __call__(self, target: C, /) -> C: ...
    @overload
    def __call__(self, target: Callable[P, Coroutine[Any, Any, R]], /) -> SagaFunction[P, R]: ...
    def __call__(self, target: Any, /) -> Any:
        return self._class(target) if inspect.isclass(target) else self._function(target)

    def _class(self, cls: type) -> type:
        if not inspect.iscoroutinefunction(getattr(cls, "run", None)):
            raise DefinitionError(f"saga class {cls.__name__!r} needs an 'async def run(self)'")
        if len(inspect.signature(cls.run).parameters) != 1:  # type: ignore[attr-defined]
            raise DefinitionError(f"{cls.__name__}.run takes no arguments: start arguments go to __init__")
        saga_type = SagaType(
            name=self._name or cls.__name__,
            target=cls,
            is_class=True,
            module=cls.__module__,
            handlers=handlers_of(cls),
            **self._options,
        )
        check_class(saga_type.name, cls, saga_type.handlers.values())
        setattr(cls, MARK, saga_type)
        definitions.append(cls)
        return cls

    def _function(self, function: Any) -> SagaFunction[Any, Any]:
        if not inspect.iscoroutinefunction(function):
            raise DefinitionError(f"@saga takes an async def function or a class with an async run(), not {function!r}")
        saga_type = SagaType(
            name=self._name or function.__name__,
            target=function,
            is_class=False,
            module=function.__module__,
            **self._options,
        )
        check_function(saga_type.name, function)
        made = SagaFunction(function, saga_type)
        definitions.append(made)
        return made


@overload
def saga(target: C, /) -> C: ...
@overload
def saga(target: Callable[P, Coroutine[Any, Any, R]], /) -> SagaFunction[P, R]: ...
@overload
def saga(
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    retention: float | timedelta | None = RETENTION_DAYS,
    placement: PlacementMode = "pooled",
    ray: RayResources | None = None,
    park_on: Iterable[type[BaseException]] | None = None,
    trace_mode: TraceMode = "episodes",
) -> _Decorator: ...
def saga(
    target: Any = None,
    /,
    *,
    name: str | None = None,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    retention: float | timedelta | None = RETENTION_DAYS,
    placement: PlacementMode = "pooled",
    ray: RayResources | None = None,
    park_on: Iterable[type[BaseException]] | None = None,
    trace_mode: TraceMode = "episodes",
) -> Any:
    """Declare a durable flow: an ``async def`` function, or a class whose ``run()`` it is.

    ``timeout``: how long a run, with all that follow it in a chain, may take from its start; then it is undone as
    if cancelled, and ends TIMED_OUT (of a cancel and the timeout, what comes first counts). One that is parked or
    paused by then stays so, and times out when it is resumed. ``retry``: a run that failed, undone, is followed by
    another with its arguments, after the back-off and within the timeout; one that was cancelled, and errors that are
    ``Rejected``, ``Permanent`` or ``fatal``, are the end. ``park_on`` replaces the list of exceptions that park
    an instance instead of failing it. ``retention``: for how many days (or a timedelta) an ended run is kept, 30 if
    nothing is said, None for ever; then its owner removes it, and its id is as if it had never been.
    ``trace_mode``: a trace for each burst of activity (the default), or "continuous", one for the whole run, which
    suits short sagas.

    ``placement="dedicated"``: where hosts are on Ray, an instance that is awake has a process of its own, with what
    ``ray={"num_gpus": 1}`` asks for (nothing: it shares the machine); elsewhere it changes nothing.
    Raises: DefinitionError, InvalidArgument.
    """
    if trace_mode not in (EPISODES, CONTINUOUS):
        raise DefinitionError(f"trace_mode is {EPISODES!r} or {CONTINUOUS!r}, not {trace_mode!r}")
    if retry is not None and (not isinstance(retry, Retry) or retry.park_after is not None):
        raise DefinitionError(f"retry is a Retry without park_after, not {retry!r}")
    if placement not in (POOLED, DEDICATED):
        raise DefinitionError(f"placement is {POOLED!r} or {DEDICATED!r}, not {placement!r}")
    if ray is not None and placement != DEDICATED:
        raise DefinitionError(f"@saga(ray=...) is for a process of its own: say placement={DEDICATED!r} too")
    options = {
        "retry": retry,
        "placement": placement,
        "ray": checked_resources(ray, "@saga"),
        "timeout_ms": optional_ms(timeout, "timeout"),
        "retention_ms": retention_ms(retention),
        "park_on": BUGS if park_on is None else tuple(park_on),
        "trace_mode": trace_mode,
    }
    decorator = _Decorator(name, options)
    return decorator if target is None else decorator(target)


def saga_type_of(target: object) -> SagaType:
    """The saga type behind a saga function or class.

    Raises: InvalidArgument when ``target`` is not declared with ``@saga`` itself (a subclass needs its own).
    """
    found = vars(target).get(MARK) if hasattr(target, "__dict__") else None
    if not isinstance(found, SagaType):
        shown = getattr(target, "__qualname__", repr(target))
        raise InvalidArgument(f"{shown} is not a saga: put @saga on it, and pass the function or class itself")
    return found
