"""The thread in which an asynchronous client lives, and the way in for callers on other threads.

Law: a call made here is answered, raises, or is cancelled with its caller; it never waits for a loop that does not run.
So a thread that is gone (closed, or left behind by a fork) and a caller that is itself a running loop are refused.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from sagas.client import Client
from sagas.connection import connect
from sagas.errors import SagaError

T = TypeVar("T")

GRACE_S = 10.0
"""How long ``close`` waits for the thread: only a name server that does not answer can hold it longer."""
_LONGEST_WAIT_S = 1.0

_CLOSED = "this client is closed: open another with sagas.connect_sync()"
_FORKED = (
    "this client was connected before its process was forked, and its connections stayed with the parent: call "
    "sagas.connect_sync() in each worker (at first use, or in a hook such as gunicorn's post_fork)"
)
_LOOP_RUNS = (
    "an event loop runs in this thread and a blocking call would stop it: use `await sagas.connect(...)` here, or make "
    "the blocking calls in a thread of their own (asyncio.to_thread)"
)


class _Living(NamedTuple):
    """A client at work, and how to end it."""

    client: Client
    loop: asyncio.AbstractEventLoop
    ending: asyncio.Event


class ClientThread:
    """A connected client in a daemon thread. Any thread may ``call`` and ``close``; garbage is closed too."""

    def __init__(self, url: str | None, namespace: str) -> None:
        """Returns once it is connected. Raises: as ``sagas.connect`` does; SagaError where an event loop runs."""
        _refuse_a_running_loop()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._answers: set[concurrent.futures.Future[Any]] = set()
        self._connecting: concurrent.futures.Future[_Living] = concurrent.futures.Future()
        # The thread must not know this object, or it would never become garbage.
        self._thread = threading.Thread(
            target=_live, args=(url, namespace, self._connecting), name="sagas-sync-client", daemon=True
        )
        # Not at exit, where a daemon thread just ends: other exit handlers may still call.
        weakref.finalize(self, _end, self._pid, self._connecting).atexit = False
        try:
            self._thread.start()
            self.client, self._loop, _ = _awaited(self._connecting)
        except BaseException:
            _end(self._pid, self._connecting)
            raise

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``work`` returns or raises on the client's loop, in a copy of the caller's context.

        Ctrl-C cancels the work, and nothing else. Raises: SagaError when the client is closed (also meanwhile), was
        connected before a fork, or an event loop runs in this thread.
        """
        _refuse_a_running_loop()
        if os.getpid() != self._pid:  # before the lock, which a thread of the parent's may have held
            raise SagaError(_FORKED)
        # Ctrl-C may come at any line: so the answer is there, to be cancelled, before anything can be under way.
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            with self._lock:
                if self._closed:
                    raise SagaError(_CLOSED)
                self._answers.add(answer)
                self._loop.call_soon_threadsafe(_begin, work, answer)  # in a copy of this thread's context
            return _awaited(answer)
        except concurrent.futures.CancelledError:
            raise SagaError(_CLOSED) from None
        except BaseException:
            answer.cancel()
            raise
        finally:
            self._answers.discard(answer)

    def close(self) -> None:
        """Cancel the calls under way, let go of the connections, end the thread. A copy in a fork has none of these."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
            answers = tuple(self._answers)
        for answer in answers:
            answer.cancel()
        _end(self._pid, self._connecting)
        self._thread.join(GRACE_S)


def _live(url: str | None, namespace: str, connecting: concurrent.futures.Future[_Living]) -> None:
    """The thread: a client's whole life on a loop of its own."""
    try:
        asyncio.run(_serve(url, namespace, connecting))
    except BaseException as error:
        if connecting.cancelled():  # its owner has gone before it came
            return
        if connecting.done():
            raise
        connecting.set_exception(error)


async def _serve(url: str | None, namespace: str, connecting: concurrent.futures.Future[_Living]) -> None:
    ending = asyncio.Event()
    async with await connect(url, namespace) as client:
        if connecting.set_running_or_notify_cancel():
            connecting.set_result(_Living(client, asyncio.get_running_loop(), ending))
            await ending.wait()


def _end(pid: int, connecting: concurrent.futures.Future[_Living]) -> None:
    """Ask the thread to end, now or once it has connected; it may have ended. Also called when its owner is garbage."""
    if os.getpid() != pid or connecting.cancel() or connecting.exception() is not None:
        return
    _, loop, ending = connecting.result()
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(ending.set)


def _awaited(answer: concurrent.futures.Future[T]) -> T:
    """Its result. Python sees a Ctrl-C that comes in the instant before a wait when that wait ends: so none is long."""
    while not answer.done():
        with contextlib.suppress(TimeoutError):
            answer.exception(timeout=_LONGEST_WAIT_S)
    return answer.result()


def _begin(work: Callable[[], Coroutine[Any, Any, T]], answer: concurrent.futures.Future[T]) -> None:
    """Begin a call on the loop, unless its caller has given it up already."""
    if answer.cancelled():
        return
    loop = asyncio.get_running_loop()
    task = loop.create_task(_answer(work, answer))

    def give_up(answer: concurrent.futures.Future[T]) -> None:
        if answer.cancelled() and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    answer.add_done_callback(give_up)


async def _answer(work: Callable[[], Coroutine[Any, Any, T]], answer: concurrent.futures.Future[T]) -> None:
    try:
        value = await work()
    except asyncio.CancelledError:
        answer.cancel()
        raise
    except BaseException as error:
        if answer.set_running_or_notify_cancel():
            answer.set_exception(error)
    else:
        if answer.set_running_or_notify_cancel():
            answer.set_result(value)


def _refuse_a_running_loop() -> None:
    if asyncio._get_running_loop() is not None:
        raise SagaError(_LOOP_RUNS)
