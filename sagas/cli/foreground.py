"""A program that runs until somebody ends it: Ctrl-C, ``kill`` or a closed terminal all end it in order.

Law: a signal is a KeyboardInterrupt, so that ``with`` blocks take down what stands; but not while Ray starts, which
leaves processes behind when it is broken off half-way: then the first one waits, and a second one breaks it off.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, NoReturn

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def endings_as_interrupts() -> Iterator[None]:
    """Within it every signal that ends a program raises KeyboardInterrupt, as Ctrl-C does."""
    before = {number: signal.getsignal(number) for number in _ENDINGS}
    _listen(_interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back(tell: Callable[[], None]) -> Iterator[None]:
    """Within it the first signal only calls ``tell``; it interrupts at the end of the block."""
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)
        _listen(_interrupt)
        tell()

    _listen(hold)
    try:
        yield
    finally:
        _listen(_interrupt)  # also where Ray has taken SIGTERM for itself
    if held:
        raise KeyboardInterrupt


def run_until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until a signal comes; an error of the work comes through."""
    try:
        asyncio.run(_until_signalled(work))
    finally:
        _listen(_interrupt)  # the loop has given the signals back to Python's defaults


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


def _listen(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _ENDINGS:
        signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
