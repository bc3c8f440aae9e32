"""The data folder of an embedded server: its files, who may write them, and where its socket can be.

Law: one server a folder. The lock belongs to the *server's* process, which inherits it, and not to the program that
started it: it is held exactly as long as somebody can still write the data, whoever of the two dies first.

Files: ``lock`` (flock; holds the server's pid), ``url``, ``server.sock``, ``server.log`` (``server.log.1``: the run
before), ``appendonlydir/`` (the data itself), ``.gitignore``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import Final

from sagas.errors import StoreUnavailable
from sagas.server.url import read_url, unix_path, unix_url, write_url

_SOCKET = "server.sock"
_PRIVATE_PREFIX = "sagas-"
_LONGEST_SOCKET_PATH: Final = 100  # bytes; the kernels allow 107 (Linux) and 103 (macOS), the servers cut at 106


class DataFolder:
    """The folder at an absolute ``path``, which exists and can be written to."""

    def __init__(self, path: Path) -> None:
        """Open the folder, and make it (mode 700, unknown to git) when there is none.

        Raises: StoreUnavailable when a file is in its way, or it cannot be written to.
        """
        self.path = path.absolute()
        self._lock = self.path / "lock"
        try:
            if not self.path.exists():
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)  # another caller may just have made it
                (self.path / ".gitignore").write_text("*\n", encoding="utf-8")
            self._lock.touch(mode=0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path} cannot be the data folder: {error}. Choose another one, make it writable, "
                "or use a server that runs already: --url redis://HOST:6379/0"
            ) from error

    @property
    def log(self) -> Path:
        """What the server writes about itself."""
        return self.path / "server.log"

    def try_lock(self) -> int | None:
        """The lock as an open descriptor, or None while another process has it. Closing every copy frees it."""
        lock = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError as error:
            os.close(lock)
            raise StoreUnavailable(
                f"{self._lock} cannot be locked: {error}. Put the data folder on a local disk."
            ) from error
        return lock

    def name_holder(self, lock: int, pid: int) -> None:
        """Write down which process holds the lock."""
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(pid).encode(), 0)

    def holder(self) -> int:
        """The pid that the lock's last holder wrote down, 0 when there is none."""
        written = self._lock.read_bytes()
        return int(written) if written.isdigit() else 0

    def url(self) -> str | None:
        """The address the running server has left here."""
        return read_url(self.path)

    def publish(self, socket: Path) -> str:
        """Leave the address of the server that listens on ``socket``."""
        elsewhere = socket.parent != self.path
        remark = "the socket is elsewhere: this folder's path is too long for one" if elsewhere else ""
        write_url(self.path, unix_url(socket), remark)
        return unix_url(socket)

    def new_socket(self) -> Path:
        """Where the server is to listen: here, or in a new private folder when this path is too long for a socket."""
        socket = self.path / _SOCKET
        if len(os.fsencode(socket)) <= _LONGEST_SOCKET_PATH:
            return socket
        short = Path(tempfile.mkdtemp(prefix=_PRIVATE_PREFIX), _SOCKET)
        if len(os.fsencode(short)) > _LONGEST_SOCKET_PATH:
            short.parent.rmdir()
            raise StoreUnavailable(
                f"{self.path} is too long for a Unix socket, and so is the temporary folder {short.parent.parent}. "
                "Choose a shorter data folder, or set TMPDIR to a shorter one."
            )
        return short

    def keep_one_old_log(self) -> None:
        """Begin a new log; the one of the run before stays beside it."""
        with contextlib.suppress(FileNotFoundError):
            self.log.replace(self.log.with_name("server.log.1"))

    def clear(self, socket: Path | None = None) -> None:
        """Remove the address and the socket of a server that has ended; whoever calls holds the lock."""
        url = self.url()
        (self.path / "url").unlink(missing_ok=True)
        for gone in {socket, unix_path(url) if url else None}:
            if gone is not None and self._made_here(gone):
                gone.unlink(missing_ok=True)
                if gone.parent != self.path:
                    with contextlib.suppress(OSError):
                        gone.parent.rmdir()

    def _made_here(self, socket: Path) -> bool:
        """Whether ``new_socket`` can have named it: the url file may have been written by hand."""
        return socket.name == _SOCKET and (socket.parent == self.path or socket.parent.name.startswith(_PRIVATE_PREFIX))
