"""The sagas and activities one process can run, by name; nothing is ever imported by a name from a history."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any

from sagas.errors import DefinitionError, InvalidArgument
from sagas.kernel.activity import Activity, definitions
from sagas.kernel.saga import MARK, SagaType, saga_type_of
from sagas.kernel.worker_start import WorkerStart, worker_starts


class Registry:
    """Looks definitions up by name. Two different definitions of one name are refused when they are registered."""

    def __init__(self, modules: Iterable[types.ModuleType] = ()) -> None:
        self._sagas: dict[str, SagaType] = {}
        self._activities: dict[str, Activity[..., Any]] = {}
        self._stand_ins: dict[str, Callable[..., Any]] = {}
        self._seen: set[str] = set()
        self._met: set[str] = set()  # modules of which something is registered, or used by one that is
        for module in modules:
            self.add_module(module)

    def add_module(self, module: types.ModuleType) -> None:
        """Register what ``module`` declares, what it imports by name, and what modules it imports declare.

        Raises: DefinitionError for two saga types, or two activities, of one name; InvalidArgument when the module
        declares no saga and no activity at all.
        """
        if module.__name__ not in self._seen and not self._walk(module):
            raise InvalidArgument(
                f"module {module.__name__!r} holds no @saga and no @activity: is it the right module?"
            )

    def _walk(self, module: types.ModuleType) -> bool:
        """Register what is found from ``module`` on; returns whether there was anything, new or known."""
        declared = (*definitions, *worker_starts)
        declaring = {name for definition in declared for name in _with_packages(definition.__module__)}
        pending, found = [module], False
        while pending:
            at = pending.pop()
            if at.__name__ in self._seen:
                found = True
                continue
            self._seen.add(at.__name__)
            self._met.add(at.__name__)
            for member in list(vars(at).values()):
                self._met.add(str(getattr(member, "__module__", "")))
                if isinstance(member, types.ModuleType) and member.__name__ in declaring:
                    pending.append(member)
                elif isinstance(member, Activity) or _is_saga(member):
                    self.add(member)
                    found = True
                elif isinstance(member, WorkerStart):
                    found = True
        return found

    def add(self, definition: Any) -> None:
        """Register one saga or activity, with its compensation. Raises: DefinitionError when the name is taken."""
        if isinstance(definition, Activity):
            self._put(self._activities, "activities", definition.name, definition, definition.function)
            self._met.add(definition.__module__)
            if definition.undo is not None:
                self.add(definition.undo)
        else:
            self.add_type(saga_type_of(definition))

    def add_type(self, saga_type: SagaType) -> None:
        """Register one saga type. Raises: DefinitionError when the name is taken."""
        self._put(self._sagas, "saga types", saga_type.name, saga_type, saga_type.target)

    def learn(self, called: Activity[..., Any] | SagaType) -> None:
        """A saga that runs here calls this activity, or begins this child: this process can run it too."""
        if isinstance(called, SagaType):
            self.add_type(called)
            return
        known = self._activities.get(called.name)
        if known is None or known.function is not called.function:
            self.add(called)

    def replace(self, activity: Activity[..., Any], stand_in: Callable[..., Any]) -> None:
        """Run ``stand_in`` in place of the activity's own function (for tests)."""
        self.learn(activity)
        self._stand_ins[activity.name] = stand_in

    def is_replaced(self, activity: Activity[..., Any]) -> bool:
        """Whether a stand-in runs in its place."""
        return activity.name in self._stand_ins

    def function_of(self, activity: Activity[..., Any]) -> Callable[..., Any]:
        """What to call for an activity: its own function, or its stand-in."""
        return self._stand_ins.get(activity.name, activity.function)

    def _put(self, table: dict[str, Any], what: str, name: str, definition: Any, target: Any) -> None:
        known = table.get(name)
        if known is None:
            table[name] = definition
            return
        other = known.function if isinstance(known, Activity) else known.target
        if other is not target:
            raise DefinitionError(
                f"two {what} are named {name!r} ({_place(other)} and {_place(target)}): give one of them name='...'"
            )

    def saga(self, name: str) -> SagaType | None:
        """The saga type of that name, or None: the instance then waits for code."""
        return self._sagas.get(name)

    def activity(self, name: str) -> Activity[..., Any] | None:
        """The activity of that name, or None."""
        return self._activities.get(name)

    @property
    def worker_starts(self) -> list[WorkerStart]:
        """What a process that runs these activities enters before, in order."""
        return [start for start in worker_starts if start.__module__ in self._met]

    @property
    def saga_names(self) -> list[str]:
        """Sorted names of the saga types."""
        return sorted(self._sagas)


def _with_packages(module: str) -> list[str]:
    """``import shop.activities`` binds ``shop``: the way to a declaring module leads through its packages."""
    parts = module.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _is_saga(member: Any) -> bool:
    return MARK in getattr(member, "__dict__", {})


def _place(target: Any) -> str:
    return f"{target.__module__}.{target.__qualname__}"
