"""Which instance is running in this thread.

Law: an instance's loop sets it for the length of an activation, a query or an eviction, and nothing else does; so it
says the same as the running loop would. That one is not asked: up to Python 3.11 the answer costs a system call, and
this is asked at every step.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sagas.errors import CodecError, NotInSaga
from sagas.kernel.unguarded import unguarded
from sagas.payloads.sealing import call_codecs_inside, on_unreadable

if TYPE_CHECKING:
    from sagas.kernel.instance import Instance


class _Active(threading.local):
    instance: Instance | None = None


ACTIVE = _Active()


def current(what: str = "this call") -> Instance:
    """The instance whose code is running.

    Raises: NotInSaga outside an activation.
    """
    instance = ACTIVE.instance
    if instance is None:
        raise NotInSaga(f"{what} works only inside a saga: call it from code that a @saga runs")
    return instance


def _hold(error: CodecError) -> None:
    """A payload of a run cannot be opened here: its code goes no further, whatever it makes of the error."""
    if ACTIVE.instance is not None:
        ACTIVE.instance.hold(error)


on_unreadable(_hold)
call_codecs_inside(unguarded)


def in_saga() -> bool:
    """Whether saga code is running (and not, say, an activity or a test)."""
    return ACTIVE.instance is not None
