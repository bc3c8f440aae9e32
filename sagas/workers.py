"""The workers of one queue, as an operator asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sagas.errors import InvalidArgument
from sagas.kernel.resources import RayResources, checked_resources

DEFAULT = "default"
"""The queue of every activity that names none; it always has a dispatcher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """``count`` processes, each with what ``ray`` asks for (nothing: they share the machine).

    ``concurrency``: steps that one of them has at once; of these, ``threads`` plain functions.
    Raises: DefinitionError for a wrong ``ray``, InvalidArgument for a number that cannot be.
    """

    count: int = 1
    ray: RayResources | None = None
    concurrency: int = 256
    threads: int = 64

    def __post_init__(self) -> None:
        checked_resources(self.ray, "Workers")
        for name, least in (("count", 0), ("concurrency", 1), ("threads", 1)):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise InvalidArgument(f"Workers({name}=...) is a whole number from {least} on, not {number!r}")


def queues_of(workers: int, queues: Mapping[str, Workers | int] | None) -> dict[str, Workers]:
    """All queues of a cluster: the default one with ``workers``, unless ``queues`` says more of it.

    Raises: InvalidArgument.
    """
    found = {DEFAULT: Workers(count=workers)}
    for name, asked in (queues or {}).items():
        if not isinstance(name, str) or not name:
            raise InvalidArgument(f"a queue's name is a str that is not empty, not {name!r}")
        found[name] = asked if isinstance(asked, Workers) else Workers(count=asked)
    return found
