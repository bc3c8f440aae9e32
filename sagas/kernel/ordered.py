"""What in asyncio would have another order in a replay, and the stand-ins that give it one.

Sets of tasks and of the loop's own futures have one order (``task.py``). Three things are left: ``as_completed`` puts
coroutines, which hash by their address, into a set; the future that ``gather`` returns is of a class of its own; and
``asyncio.Future()`` cannot be numbered at all (its class is asyncio's, in C, and is looked up everywhere), so it is
refused where it would meet a set. Tasks of sagas are not in asyncio's own set of all tasks (``task.py``); the loop of
the instance knows them. Outside a saga nothing is changed.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from typing import Any

from sagas.kernel.current import current, in_saga
from sagas.kernel.task import GatheringFuture

_all_tasks = asyncio.all_tasks
_as_completed = asyncio.as_completed
_wait = asyncio.wait


@functools.wraps(_as_completed)
def _ordered_as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
    if in_saga() and not (asyncio.isfuture(fs) or asyncio.iscoroutine(fs)):
        fs = [asyncio.ensure_future(each) for each in dict.fromkeys(_numbered(fs))]
    return _as_completed(fs, timeout=timeout)


@functools.wraps(_wait)
def _ordered_wait(fs: Any, *, timeout: float | None = None, return_when: str = asyncio.ALL_COMPLETED) -> Any:
    if in_saga() and not (asyncio.isfuture(fs) or asyncio.iscoroutine(fs)):
        fs = _numbered(fs)
    return _wait(fs, timeout=timeout, return_when=return_when)


@functools.wraps(_all_tasks)
def _all_tasks_of_a_loop(loop: asyncio.AbstractEventLoop | None = None) -> Any:
    of_instance = getattr(loop or asyncio.get_running_loop(), "open_tasks", None)  # only the loop of an instance has it
    return _all_tasks(loop) if of_instance is None else set(of_instance())


def _numbered(fs: Iterable[Any]) -> list[Any]:
    """The futures given. Raises: Refused, when one hashes by its address."""
    given = list(fs)
    if any(asyncio.isfuture(each) and type(each).__hash__ is object.__hash__ for each in given):
        current().refuse(
            "saga code waits for an asyncio.Future() among others: a set of such has another order in every process; "
            "make it with asyncio.get_running_loop().create_future()"
        )
    return given


def install() -> None:
    """Put the stand-ins in place, once a process."""
    if asyncio.wait is _wait:
        for module in (asyncio, asyncio.tasks):
            module.all_tasks = _all_tasks_of_a_loop  # type: ignore[attr-defined]
            module.as_completed = _ordered_as_completed  # type: ignore[attr-defined]
            module.wait = _ordered_wait  # type: ignore[attr-defined]
        asyncio.tasks._GatheringFuture = GatheringFuture  # type: ignore[attr-defined]
