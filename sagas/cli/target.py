"""The operator's own code, as named on the command line: modules, and sagas in them.

Law: names come from the command line and the operator's environment alone. A module that cannot be imported is the
user's to mend, so it is said in one line with the place in their code, not with our traceback.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from sagas.errors import InvalidArgument, SagaError
from sagas.kernel.registry import Registry
from sagas.kernel.saga import SagaType, saga_type_of
from sagas.modules import load_modules

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def modules_of(names: Sequence[str]) -> list[ModuleType]:
    """The modules. Raises: InvalidArgument when one cannot be found or imported; errors of ours in it as they are."""
    return [_imported(name) for name in names]


def saga_of(name: str) -> Callable[..., Any]:
    """The saga that ``shop.sagas:book_trip`` names. Raises: InvalidArgument."""
    module_name, _, path = name.partition(":")
    (module,) = modules_of([module_name])
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    try:
        saga_type_of(found)
    except InvalidArgument:
        raise InvalidArgument(f"{name!r} names no saga; {_there_are(module)}") from None
    return found  # type: ignore[no-any-return]  # a saga function or class, as was just seen


def address_of(saga_type: SagaType) -> str:
    """What to type for this saga on a command line, with a word for each argument it needs."""
    parameters = inspect.signature(saga_type.target).parameters.values()
    needed = [each.name.upper() for each in parameters if each.default is each.empty and each.kind in _BY_PLACE]
    return " ".join([f"{saga_type.module}:{saga_type.target.__qualname__}", *needed])


def _imported(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise InvalidArgument(f"{name!r} is no module: give its dotted name (shop.sagas, not shop/sagas.py)")
    try:
        return load_modules([name])[0]
    except SagaError:
        raise
    except (Exception, SystemExit) as error:
        raise InvalidArgument(
            f"module {name!r} cannot be imported: {type(error).__name__}: {error}{_place(error)}"
        ) from error


def _place(error: BaseException) -> str:
    """Where in the user's code it happened: the last line that ran."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _there_are(module: ModuleType) -> str:
    try:
        registry = Registry([module])
    except SagaError as error:
        return str(error)
    here = [address_of(found) for name in registry.saga_names if (found := registry.saga(name)) is not None]
    return f"there are: {', '.join(here)}" if here else f"module {module.__name__!r} holds none"
