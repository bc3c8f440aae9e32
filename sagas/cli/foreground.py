"""A program that runs until somebody ends it: Ctrl-C, ``kill`` or a closed terminal all end it in order.

Law: a signal is an exception (KeyboardInterrupt) while things start and stop, so that ``with`` blocks take down what
stands; a second one breaks off the taking down.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from types import FrameType
from typing import Any, NoReturn

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def endings_as_interrupts() -> Iterator[None]:
    """Within it every signal that ends a program raises KeyboardInterrupt, as Ctrl-C does."""
    before = {number: signal.getsignal(number) for number in _ENDINGS}
    listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen() -> None:
    """Take the signals (again: Ray takes SIGTERM for itself when it starts)."""
    for number in _ENDINGS:
        signal.signal(number, _interrupt)


def run_until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until a signal comes; an error of the work comes through."""
    asyncio.run(_until_signalled(work))
    listen()


async def _until_signalled(work: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()
    for number in _ENDINGS:
        loop.add_signal_handler(number, signalled.set)
    working = loop.create_task(work)
    waiting = loop.create_task(signalled.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
