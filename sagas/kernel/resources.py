"""What a process on Ray asks for: the words of ``ray={...}``, checked where they are written down.

Law: plain values that a history can hold; Ray itself is not imported to declare them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from sagas.errors import DefinitionError


class RayResources(TypedDict, total=False):
    """Logical resources that Ray keeps for one process: CPUs, GPUs, bytes of memory, and the cluster's own by name."""

    num_cpus: float
    num_gpus: float
    memory: float
    resources: Mapping[str, float]


_WORDS = tuple(RayResources.__annotations__)
_RAYS_OWN = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


def checked_resources(asked: RayResources | None, of: str) -> dict[str, Any] | None:
    """A copy of ``asked``. Raises: DefinitionError that says what may stand there; ``of`` names what asks."""
    if asked is None:
        return None
    if not isinstance(asked, Mapping):
        raise DefinitionError(f"{of}: ray= is a dict of {_listed()}, not {asked!r}")
    found: dict[str, Any] = {}
    for word, amount in asked.items():
        if word not in _WORDS:
            raise DefinitionError(f"{of}: ray= knows no {word!r}; it may hold {_listed()}")
        found[word] = _named(amount, of) if word == "resources" else _amount(amount, word, of)
    return found


def shown(resources: Mapping[str, Any]) -> str:
    """For people: ``num_gpus=1, fast_disk=0.5``."""
    amounts = {**resources, **resources.get("resources", {})}
    return ", ".join(f"{name}={amount:g}" for name, amount in amounts.items() if name != "resources") or "none"


def _named(asked: object, of: str) -> dict[str, float]:
    if not isinstance(asked, Mapping):
        raise DefinitionError(f"{of}: resources in ray= is a dict of names and amounts, not {asked!r}")
    for name in asked:
        if not isinstance(name, str) or name in _RAYS_OWN:
            right = f"use {_RAYS_OWN[name]!r} beside it" if name in _RAYS_OWN else "a resource's name is a str"
            raise DefinitionError(f"{of}: resources in ray= cannot name {name!r}: {right}")
    return {name: _amount(amount, name, of) for name, amount in asked.items()}


def _amount(amount: object, of_what: str, of: str) -> float:
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not math.isfinite(amount) or amount < 0:
        raise DefinitionError(f"{of}: {of_what} in ray= is a number, 0 or more, not {amount!r}")
    if amount > 1 and amount != int(amount):
        raise DefinitionError(f"{of}: {of_what} in ray= is a whole number where it is above 1, not {amount!r}")
    return amount


def _listed() -> str:
    return "num_cpus, num_gpus, memory (bytes) and resources={name: amount}"
