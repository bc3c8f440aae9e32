"""What asyncio offers that saga code can never have: threads, sockets, processes, signals, other loops.

Law: whoever asks for one gets ``Refused``, with a word on what to use instead, at once and again in every replay. It is
a bug of the saga's code: where it leaves the run, or a scope, it parks the instance, nothing undone, and corrected code
goes on. Code that catches it goes on at once, as with any bug that is caught (a ``KeyError``): nothing has happened,
and every replay takes the same way, so unlike a ``NondeterminismError`` it need not stop the run, and code that tries
``asyncio.run`` first, and catches its ``RuntimeError``, stays right. So that a broad ``except Exception`` cannot make a
skipped piece of work look done without a trace, each refusal is logged as a warning besides.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from sagas.errors import DefinitionError
from sagas.kernel.current import current, in_saga

if TYPE_CHECKING:
    from sagas.kernel.loop import InstanceLoop


class Refused(DefinitionError, RuntimeError):
    """Saga code asked asyncio for what only the world outside can give. A RuntimeError too, as in plain asyncio."""


REFUSED = {
    "run_in_executor": "a thread or process pool: put the work into an @activity (a plain def runs in a thread)",
    "call_soon_threadsafe": "another thread: send the instance a signal instead",
    "run_until_complete": "a nested event loop: await the coroutine",
    "run_forever": "a nested event loop: await the coroutine",
    "create_connection": "a socket: do I/O in an @activity",
    "create_server": "a socket: do I/O in an @activity",
    "create_datagram_endpoint": "a socket: do I/O in an @activity",
    "create_unix_connection": "a socket: do I/O in an @activity",
    "create_unix_server": "a socket: do I/O in an @activity",
    "sock_recv": "a socket: do I/O in an @activity",
    "sock_sendall": "a socket: do I/O in an @activity",
    "sock_connect": "a socket: do I/O in an @activity",
    "sock_accept": "a socket: do I/O in an @activity",
    "getaddrinfo": "a name look-up: do I/O in an @activity",
    "getnameinfo": "a name look-up: do I/O in an @activity",
    "subprocess_exec": "a process: start it in an @activity",
    "subprocess_shell": "a process: start it in an @activity",
    "connect_read_pipe": "a pipe: do I/O in an @activity",
    "connect_write_pipe": "a pipe: do I/O in an @activity",
    "add_reader": "a file descriptor: do I/O in an @activity",
    "add_writer": "a file descriptor: do I/O in an @activity",
    "add_signal_handler": "an operating system signal: that belongs to the host",
    "remove_signal_handler": "an operating system signal: that belongs to the host",
    "remove_reader": "a file descriptor: do I/O in an @activity",
    "remove_writer": "a file descriptor: do I/O in an @activity",
    "connect_accepted_socket": "a socket: do I/O in an @activity",
    "sock_recv_into": "a socket: do I/O in an @activity",
    "sock_recvfrom": "a socket: do I/O in an @activity",
    "sock_recvfrom_into": "a socket: do I/O in an @activity",
    "sock_sendto": "a socket: do I/O in an @activity",
    "sock_sendfile": "a socket: do I/O in an @activity",
    "sendfile": "a file: do I/O in an @activity",
    "start_tls": "a socket: do I/O in an @activity",
    "set_default_executor": "a thread or process pool: put the work into an @activity",
    "shutdown_default_executor": "a thread or process pool: that belongs to the host",
    "set_task_factory": "another kind of task: tasks are numbered here, so that a replay finds them in one order",
    "get_task_factory": "another kind of task: use asyncio.create_task()",
    "set_exception_handler": "the errors of tasks that nobody awaits: await the task",
    "get_exception_handler": "the errors of tasks that nobody awaits: await the task",
    "set_debug": "debug mode: that belongs to the host",
    "stop": "the end of its loop: return from run(), or raise",
}
"""Methods of an event loop, and what each is for a saga."""

_run, _new_event_loop, _runner = asyncio.run, asyncio.new_event_loop, asyncio.Runner.__init__
_NESTED = "a nested event loop: await the coroutine"


def refusing(loop: type[InstanceLoop]) -> type[InstanceLoop]:
    """Give a loop its refused methods."""
    for name, instead in REFUSED.items():
        setattr(loop, name, _refused_method(name, instead))
    return loop


def _refused_method(name: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(loop: InstanceLoop, *args: Any, **_kwargs: Any) -> NoReturn:
        _drop(args)
        loop._sagas_instance.refuse(f"saga code asked its event loop for {name}, that is {instead}")

    return refuse


def _outside_only(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """``function``, refused to saga code: what makes a loop of its own never asks the running one."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if in_saga():
            _drop(args)
            current().refuse(f"saga code called {name}, that is {_NESTED}")
        return function(*args, **kwargs)

    return guarded


def _drop(args: tuple[Any, ...]) -> None:
    """Coroutines handed over to be run: closed, or a warning that they never were awaited would hide the reason."""
    for each in args:
        if asyncio.iscoroutine(each):
            each.close()


def install() -> None:
    """Put the guards in place, once a process."""
    if asyncio.run is _run:
        asyncio.run = asyncio.runners.run = _outside_only(_run, "asyncio.run()")
        new = _outside_only(_new_event_loop, "asyncio.new_event_loop()")
        asyncio.new_event_loop = asyncio.events.new_event_loop = new
        asyncio.Runner.__init__ = _outside_only(_runner, "asyncio.Runner()")  # type: ignore[method-assign]
