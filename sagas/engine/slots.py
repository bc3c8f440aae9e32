"""What a process ran when it died, kept in files of this machine so that its successors here can tell.

Each process has a file, mapped into memory and locked for as long as it lives, with the id of the instance whose code
it runs at this moment. A file that nobody holds locked is of a dead process: whoever finds it first charges the id in
it (a file a charged id, in ``charges/``) and removes it. What is in a mapped page survives its process, by ``kill -9``
as by a segfault. A node that goes down takes its charges along, and a successor on another node knows of none: then an
instance that kills its host has more tries than three, never fewer.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("sagas.engine")

_PAGE = 4096
_EMPTY = b"\0\0"


def default_folder(url: str, namespace: str) -> Path:
    """Where hosts on this machine keep the slots of a namespace: of this user alone."""
    of = hashlib.sha256(f"{url}\0{namespace}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sagas-{os.getuid()}" / of


def open_slots(folder: Path) -> Slots | None:
    """This process's slot; None, with a warning, where the folder cannot be used."""
    try:
        return Slots(folder)
    except OSError as error:
        log.warning("an instance that kills its host will not be found: %s cannot be used (%s)", folder, error)
        return None


class Slots:
    """One process's slot, and the charges of all on this machine. Raises OSError where the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._charges = folder / "charges"
        for each in (folder.parent, folder, self._charges):
            each.mkdir(mode=0o700, exist_ok=True)
            if each.stat().st_uid != os.getuid():
                raise PermissionError(f"{each} belongs to another user")
        self.charged: dict[str, int] = {}  # id -> how many processes died of it, as far as ``look`` has seen
        self._path, self._file = self._own()
        self._page: mmap.mmap | bytearray = mmap.mmap(self._file, _PAGE)
        self.look()

    def _own(self) -> tuple[Path, int]:
        """A file of our own, locked: until it is, somebody may take it for a dead one's and remove it."""
        while True:
            file, name = tempfile.mkstemp(suffix=".slot", dir=self._folder)
            os.truncate(file, _PAGE)
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if Path(name).exists():
                    return Path(name), file
            os.close(file)

    def write(self, id: str) -> None:
        """The code of this instance is about to run."""
        body = id.encode()
        record = len(body).to_bytes(2) + body
        self._page[: len(record)] = record

    def clear(self) -> None:
        """No instance's code runs."""
        self._page[:2] = _EMPTY

    def charges(self, id: str) -> int:
        """How many processes died of it, as far as ``look`` has seen."""
        return self.charged.get(id, 0)

    def look(self) -> None:
        """Charge what dead processes ran; learn what others have charged."""
        for path in self._folder.glob("*.slot"):
            if path != self._path:
                self._bury(path)
        self.charged = dict(self._stored())

    def forgive(self, id: str) -> None:
        """It is charged with nothing any more."""
        if self.charged.pop(id, 0):
            self._charge_file(id).unlink(missing_ok=True)

    def close(self) -> None:
        """Leave nothing behind, but the charges."""
        if isinstance(self._page, mmap.mmap):
            self._page.close()
            self._page = bytearray(_PAGE)  # what still runs, runs unwatched
            self._path.unlink(missing_ok=True)
            os.close(self._file)

    def _bury(self, path: Path) -> None:
        with contextlib.suppress(OSError), path.open("rb") as file:  # gone already, or locked: of a living process
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            page = file.read(_PAGE)
            if path.exists() and (id := page[2 : 2 + int.from_bytes(page[:2])].decode("utf-8", "replace")):
                charged = self._charge_file(id)
                times = (_read(charged) or (id, 0))[1] + 1
                charged.write_text(f"{times}\n{id}", encoding="utf-8")
                log.warning("a process died while it ran instance %r; that makes %d", id, times)
            path.unlink(missing_ok=True)

    def _stored(self) -> Iterator[tuple[str, int]]:
        for path in self._charges.iterdir():
            if (found := _read(path)) is not None:
                yield found

    def _charge_file(self, id: str) -> Path:
        return self._charges / hashlib.sha256(id.encode()).hexdigest()[:32]


def _read(path: Path) -> tuple[str, int] | None:
    """(id, times) of a charge; None where there is none, or none that can be read."""
    try:
        times, _, id = path.read_text(encoding="utf-8").partition("\n")
        return id, int(times)
    except (OSError, ValueError):
        return None
