"""The searchable attributes of a run: small facts about it that ``describe`` shows and ``list`` looks for.

Law: a value is a text, a number or a truth value that every reader of a head understands; a change is a decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagas.errors import InvalidArgument
from sagas.kernel.current import current
from sagas.kernel.events import AttributesSet
from sagas.payloads import encode

Attribute = str | int | float | bool
_WIRE_INTEGERS = range(-(2**63), 2**64)


def set_attributes(**searchable: Attribute | None) -> None:
    """Change what this run can be found by: ``set_attributes(plan="pro", trial=None)``; None takes one away.

    Seen in ``describe().attributes`` and found by ``client.list("attributes.plan = 'pro'")`` with the commit of this
    activation, in ``sagas.info()`` at once. Raises: InvalidArgument, PayloadError, and then nothing has changed.
    """
    instance = current("sagas.set_attributes()")
    changes = checked_attributes(searchable, removable=True)
    instance.decide(AttributesSet(changes, at_ms=instance.now_ms))
    instance.attributes = merged(instance.attributes, changes)


def merged(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``before`` with ``changes``, of which None takes one away."""
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


def checked_attributes(given: Mapping[str, Any] | None, *, removable: bool = False) -> dict[str, Any]:
    """``given``, if every head can hold it. Raises: InvalidArgument, PayloadError."""
    attributes = dict(given or {})
    for name, value in attributes.items():
        if value is None and removable and isinstance(name, str):
            continue
        if not isinstance(name, str) or not isinstance(value, Attribute):
            raise InvalidArgument(f"attribute {name!r} is a {type(value).__name__}; use str, int, float or bool")
        if isinstance(value, int) and value not in _WIRE_INTEGERS:
            raise InvalidArgument(f"attribute {name!r} is {value}, which 64 bits do not hold: make it a text")
    encode(attributes)
    return attributes
