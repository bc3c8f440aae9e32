"""The server that ``sagas`` starts itself, so that nobody needs to install or configure a Redis to begin.

Law: what it acknowledges is on disk (AOF, fsync always), it evicts nothing, and nobody but this user can reach it
(a Unix socket of mode 700, no TCP port at all). Whoever comes second to the same data folder gets the running server.
"""

from __future__ import annotations

import contextlib
import os
import socket as sockets
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sagas.errors import StoreUnavailable
from sagas.server.find import ServerBinary, find_server
from sagas.server.folder import DataFolder
from sagas.server.process import ServerProcess
from sagas.server.url import DATA, unix_path, unix_url

_ANSWER_TIMEOUT_S = 2.0


class EmbeddedServer:
    """A running server of our own, on one data folder.

    Attributes: ``url`` (``unix://...``), ``pid``, ``data`` (absolute folder), ``owned`` (whether this object started
    it; a server that was running already is left running). As a context manager it stops the server it owns.
    """

    def __init__(self, folder: DataFolder, url: str, pid: int, process: ServerProcess | None) -> None:
        self.url = url
        self.pid = pid
        self.data = folder.path
        self.owned = process is not None
        self._folder = folder
        self._process = process

    @classmethod
    def start(
        cls,
        data: Path = DATA,
        binary: ServerBinary | None = None,
        *,
        die_with_parent: bool = False,
        timeout: float = 30.0,
    ) -> EmbeddedServer:
        """Start a server on ``data``, or attach to the one that runs there; it answers when this returns.

        Blocks: from async code call it in a thread. ``binary`` is looked for (``find_server``) when not given.
        ``die_with_parent``: the server ends with this process, even by kill -9 (Linux; elsewhere ignored).
        ``timeout`` (seconds) bounds the wait for a first answer or for the folder's lock; loading its data may take
        the server longer.

        Raises: StoreUnavailable when the folder cannot be used, when its lock is held and no server answers there, or
        when the server ends at its start (with the last lines of its log).
        """
        folder = DataFolder(data)
        deadline = time.monotonic() + timeout
        for pause in _pauses():
            lock = folder.try_lock()
            if lock is not None:
                return cls._launch(folder, lock, binary, die_with_parent, deadline)
            running = cls._attach(folder)
            if running is not None:
                return running
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"process {folder.holder()} holds the data folder {folder.path}, but no server answers there. "
                    "Wait if it is starting; else end that process and start again, or choose another data folder."
                )
            time.sleep(pause)
        raise AssertionError("the pauses never end")

    @classmethod
    def attach(cls, data: Path = DATA) -> EmbeddedServer | None:
        """The server that runs on ``data`` already, or None; nothing is started. Raises: StoreUnavailable."""
        return cls._attach(DataFolder(data)) if data.is_dir() else None

    def stop(self, timeout: float = 10.0, *, force: bool = False) -> None:
        """Stop the server in order, and with SIGKILL only after ``timeout`` seconds; may be called again.

        A server that another program started is left alone, unless ``force`` asks it to shut down.

        Raises: StoreUnavailable when a server of another program does not end in time; it is never killed, because
        its pid may mean something else here (a container's, or an old one used again).
        """
        if self._process is not None:
            self._process.stop(timeout)
        elif force:
            self._ask_to_end(timeout)
        else:
            return
        self._clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @classmethod
    def _attach(cls, folder: DataFolder) -> EmbeddedServer | None:
        url = folder.url()
        socket = unix_path(url) if url else None
        if url is None or socket is None or _probe(socket) != "ready":
            return None
        return cls(folder, url, folder.holder(), None)

    @classmethod
    def _launch(
        cls, folder: DataFolder, lock: int, binary: ServerBinary | None, die_with_parent: bool, deadline: float
    ) -> EmbeddedServer:
        """Start the server as the new holder of ``lock``, wait for its answer, and leave its address."""
        with _explained(folder):
            try:
                process, socket = _spawn(folder, lock, binary, die_with_parent)
            finally:
                os.close(lock)  # the server's own copy holds it from here on
            server = cls(folder, unix_url(socket), process.pid, process)
            try:
                _await_ready(process, socket, deadline)
                folder.publish(socket)
            except BaseException:
                server.stop()
                raise
        return server

    def _ask_to_end(self, timeout: float) -> None:
        """Tell another program's server to shut down, and wait until it has let go of the lock."""
        socket = unix_path(self.url)
        if socket is not None:
            _ask(socket, b"SHUTDOWN\r\n")
        deadline = time.monotonic() + timeout
        for pause in _pauses():
            lock = self._folder.try_lock()
            if lock is not None:
                os.close(lock)
                return
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the server of {self.data} (process {self.pid}) does not end; end it by hand")
            time.sleep(pause)

    def _clear(self) -> None:
        """Remove what the server left, unless a new one runs on the folder already."""
        lock = self._folder.try_lock()
        if lock is None:
            return
        try:
            self._folder.clear(unix_path(self.url))
        finally:
            os.close(lock)


@contextlib.contextmanager
def _explained(folder: DataFolder) -> Iterator[None]:
    """Turn an error of the operating system into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"the server cannot be started on {folder.path}: {error}. Mend that, choose another data folder, "
            "or use a server that runs already: --url redis://HOST:6379/0"
        ) from error


def _spawn(
    folder: DataFolder, lock: int, binary: ServerBinary | None, die_with_parent: bool
) -> tuple[ServerProcess, Path]:
    """A server process that holds ``lock``, and the socket it is going to listen on."""
    folder.clear()  # what a server that was killed has left
    binary = binary or find_server(folder.path)
    folder.keep_one_old_log()
    socket = folder.new_socket()
    try:
        command = [str(binary.path), *_settings(folder.path, socket)]
        process = ServerProcess(command, log=folder.log, keep_open=lock, die_with_parent=die_with_parent)
    except BaseException:
        folder.clear(socket)
        raise
    folder.name_holder(lock, process.pid)
    return process, socket


def _settings(data: Path, socket: Path) -> list[str]:
    """The server's arguments. Defaults that safety rests on are said too: a default can change."""
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "daemonize": "no",
        "logfile": "",  # to stdout, which is the log: errors in the settings go nowhere else
        "dir": str(data),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        # Plain commands: Redis cannot read the RDB format of a newer Valkey, and which of them is found may change
        # when somebody installs a server or the wheel.
        "aof-use-rdb-preamble": "no",
        "aof-load-truncated": "yes",  # what a kill -9 cut off was never acknowledged
        "maxmemory-policy": "noeviction",
        # Full, it refuses writes and says so; without a limit the kernel would kill it, or this program.
        "maxmemory": str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2),
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def _pauses() -> Iterator[float]:
    """Seconds between two tries: short at first, since a server is up in some 20 ms, then a quarter of a second."""
    pause = 0.005
    while True:
        yield pause
        pause = min(pause * 2, 0.25)


def _await_ready(process: ServerProcess, socket: Path, deadline: float) -> None:
    """Return once the server answers and has loaded its data; how long loading takes is its own affair."""
    for pause in _pauses():
        if process.exited.wait(pause):
            raise StoreUnavailable(
                f"the server ended at its start (exit {process.returncode}). Its last words:\n{process.last_log()}\n"
                "Mend what they name; damaged data: look at it with redis-check-aof; or choose another data folder."
            )
        state = _probe(socket)
        if state == "ready":
            return
        if state == "silent" and time.monotonic() > deadline:
            raise StoreUnavailable(
                f"the server started but does not answer at {socket}. Its last words:\n{process.last_log()}\n"
                "Try again with a longer timeout, or use a server that runs already: --url redis://HOST:6379/0"
            )


def _probe(socket: Path) -> Literal["ready", "loading", "silent"]:
    answer = _ask(socket, b"PING\r\n")
    if answer.startswith(b"+PONG"):
        return "ready"
    return "loading" if answer.startswith(b"-LOADING") else "silent"


def _ask(socket: Path, command: bytes) -> bytes:
    """The answer to one inline command, empty when nobody answers. No client library: start-up stays light."""
    with contextlib.suppress(OSError), sockets.socket(sockets.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_TIMEOUT_S)
        connection.connect(str(socket))
        connection.sendall(command)
        return connection.recv(128)
    return b""
