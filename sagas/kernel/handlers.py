"""The doors of a class saga: methods that a message from outside may call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from sagas.errors import DefinitionError, InvalidArgument
from sagas.payloads import Signature

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
MARK = "__saga_handler__"
Kind = Literal["signal", "query", "update"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A method that takes messages of one name. ``validator``, of an update, may refuse them before they count."""

    kind: Kind
    name: str
    function: Callable[..., Any]
    validator: Callable[..., Any] | None = None

    @property
    def signature(self) -> Signature:
        """Its arguments without ``self``, and its result."""
        return Signature.of(self.function, skip_self=True)


def signal(function: F, /) -> F:
    """A method that takes a signal: ``def`` or ``async def``, changes the saga's state, returns nothing."""
    return _marked(function, "signal")


def query(function: F, /) -> F:
    """A ``def`` method that answers a question from the saga's state; it may only read."""
    if inspect.iscoroutinefunction(function):
        raise DefinitionError(
            f"query {function.__qualname__!r} must be a plain def: a query only reads and never waits"
        )
    return _marked(function, "query")


class UpdateMethod(Protocol[P, R_co]):
    """What ``@update`` makes of a method: the method, and ``validator`` to declare its validator with."""

    def __call__(self, saga: Any, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __get__(self, saga: None, owner: Any, /) -> UpdateMethod[P, R_co]: ...
    @overload
    def __get__(self, saga: object, owner: Any, /) -> Callable[P, R_co]: ...
    def validator(self, function: Callable[Concatenate[Any, P], None], /) -> Callable[Concatenate[Any, P], None]:
        """A ``def`` method of the same arguments that raises to reject an update; it may only read."""


def update(function: Callable[Concatenate[Any, P], R_co], /) -> UpdateMethod[P, R_co]:
    """A method that takes an update: ``def`` or ``async def``; its caller gets what it returns or raises.

    ``@name.validator`` marks a ``def`` method of the same arguments that looks first: what it raises rejects the
    update, which then leaves no history. Raises: DefinitionError.
    """
    declared: Any = _marked(function, "update")
    declared.validator = lambda validator: _validating(declared, validator)
    return cast("UpdateMethod[P, R_co]", declared)


def _validating(function: Any, validator: F) -> F:
    """Raises: DefinitionError where it could never work."""
    name = f"validator {getattr(validator, '__qualname__', validator)!r} of update {function.__name__!r}"
    if not inspect.isfunction(validator) or inspect.iscoroutinefunction(validator):
        raise DefinitionError(f"{name} must be a plain def method: a validator only reads and never waits")
    if _places(validator) != _places(function):
        raise DefinitionError(f"{name} must take the arguments that the update takes")
    setattr(function, MARK, replace(getattr(function, MARK), validator=validator))
    return validator


def _places(function: Callable[..., Any]) -> list[Any]:
    return [each.kind for each in inspect.signature(function).parameters.values()]


def _marked(function: F, kind: Kind) -> F:
    if not inspect.isfunction(function):
        raise DefinitionError(f"@{kind} goes on a method of a saga class, not on {function!r}")
    setattr(function, MARK, Handler(kind=kind, name=function.__name__, function=function))
    return function


def handlers_of(cls: type) -> dict[tuple[Kind, str], Handler]:
    """Every handler of a class, inherited ones too; a subclass's method stands before its base's."""
    found: dict[tuple[Kind, str], Handler] = {}
    for base in reversed(cls.__mro__):
        for member in vars(base).values():
            handler = getattr(member, MARK, None)
            if isinstance(handler, Handler):
                found[handler.kind, handler.name] = handler
            elif inspect.isfunction(member):  # an override need not say again what it overrides
                for key, overridden in found.items():
                    if overridden.function.__name__ == member.__name__:
                        found[key] = replace(overridden, function=member)
                    elif overridden.validator is not None and overridden.validator.__name__ == member.__name__:
                        found[key] = replace(overridden, validator=member)
    return found


def handler_name(handler: Callable[..., Any] | str, kind: Kind) -> str:
    """The message name of ``Subscription.cancel`` or ``"cancel"``.

    Raises: InvalidArgument when the method is no handler of that kind.
    """
    if isinstance(handler, str):
        return handler
    marked = getattr(handler, MARK, None)
    if not isinstance(marked, Handler) or marked.kind != kind:
        raise InvalidArgument(f"{getattr(handler, '__qualname__', handler)!r} is no @{kind} of a saga class")
    return marked.name


def handler_args(handler: Callable[..., Any] | str, args: tuple[Any, ...]) -> bytes:
    """The encoded arguments of a message; checked against the method's signature where it is given as a method."""
    if isinstance(handler, str):
        return Signature.of(_anything).encode(args, {})
    return cast("Handler", getattr(handler, MARK)).signature.encode(args, {})


def _anything(*args: Any) -> None:
    """The signature of a message that is only named."""
