"""Which instance is running: found through the running loop, so that no global or context variable can go stale."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sagas.errors import CodecError, NotInSaga
from sagas.payloads.sealing import on_unreadable

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance

INSTANCE = "_sagas_instance"
"""The attribute by which an instance's loop names its instance."""


def current(what: str = "this call") -> Instance:
    """The instance whose code is running.

    Raises: NotInSaga outside an activation.
    """
    instance: Instance | None = getattr(asyncio._get_running_loop(), INSTANCE, None)
    if instance is None:
        raise NotInSaga(f"{what} works only inside a saga: call it from code that a @saga runs")
    return instance


def _hold(error: CodecError) -> None:
    """A payload of a run cannot be opened here: its code goes no further, whatever it makes of the error."""
    instance: Instance | None = getattr(asyncio._get_running_loop(), INSTANCE, None)
    if instance is not None:
        instance.hold(error)


on_unreadable(_hold)


def in_saga() -> bool:
    """Whether saga code is running (and not, say, an activity or a test)."""
    return hasattr(asyncio._get_running_loop(), INSTANCE)
