"""Value classes of the hot paths: immutable to the type checker, and as quick to make as any object.

A frozen dataclass pays a function call a field for every instance, six times what a plain one costs; a turn makes a
dozen. Where that does not count, ``dataclass(frozen=True)`` it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen: bool, slots: bool, kw_only: bool = False):
        """``dataclass``, but ``frozen`` is left to the type checker; equal values hash alike all the same."""
        assert frozen, "what may change is a dataclass"
        return dataclass(slots=slots, kw_only=kw_only, unsafe_hash=True)


__all__ = ["value"]
