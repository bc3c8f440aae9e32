"""What ``up()`` refuses: with an error that says what to do, and with nothing left running."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sagas
from sagas.errors import DefinitionError, InvalidArgument, SagaError, StoreUnavailable, UnsafeStore
from tests.cluster.running import MODULES, RunningRay, named_actors
from tests.servers import Server

ROOT = Path(__file__).parents[2]
SHOP = """
from sagas import saga

@saga
async def buy() -> None: ...
"""


@pytest.fixture(autouse=True)
def leaves_nothing(local_ray: RunningRay, namespace: str) -> Iterator[None]:
    """Ray is up, so that what was started in vain would be found."""
    yield
    assert named_actors(namespace) == []


@pytest.fixture
def evicting_url() -> Iterator[str]:
    server = Server("debian", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    try:
        yield server.url
    finally:
        server.stop()


def refused(expected: type[SagaError], url: str | None, namespace: str, *modules: object) -> str:
    """The message of the error, which is exactly of this type (not a Ray error that looks like it)."""
    with pytest.raises(SagaError) as caught:
        sagas.up(modules, url, hosts=1, workers=1, namespace=namespace)  # type: ignore[arg-type]
    assert type(caught.value) is expected
    return str(caught.value)


def test_two_types_of_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debian_redis_url: str, namespace: str
) -> None:
    for name in ("shop_here", "shop_there"):
        (tmp_path / f"{name}.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    message = refused(DefinitionError, debian_redis_url, namespace, "shop_here", "shop_there")
    assert "'buy'" in message
    assert "shop_here" in message
    assert "shop_there" in message


def test_a_module_that_is_nowhere(debian_redis_url: str, namespace: str) -> None:
    message = refused(InvalidArgument, debian_redis_url, namespace, "shop.nowhere")
    assert "module 'shop.nowhere' cannot be found" in message
    assert "PYTHONPATH" in message


def test_a_module_that_only_this_process_can_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debian_redis_url: str, namespace: str
) -> None:
    (tmp_path / "shop_found_here_alone.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    message = refused(InvalidArgument, debian_redis_url, namespace, "shop_found_here_alone")
    assert "module 'shop_found_here_alone' cannot be found" in message


def test_no_module(debian_redis_url: str, namespace: str) -> None:
    assert "modules=[...]" in refused(InvalidArgument, debian_redis_url, namespace)


def test_the_main_module(debian_redis_url: str, namespace: str) -> None:
    message = refused(InvalidArgument, debian_redis_url, namespace, sys.modules["__main__"])
    assert "move them into a module" in message


def test_a_redis_that_is_not_there(tmp_path: Path, namespace: str) -> None:
    message = refused(StoreUnavailable, f"unix://{tmp_path}/nobody.sock", namespace, *MODULES)
    assert f"{tmp_path}/nobody.sock" in message


def test_no_redis_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str) -> None:
    monkeypatch.delenv("SAGAS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert "SAGAS_URL=" in refused(StoreUnavailable, None, namespace, *MODULES)


def test_a_redis_that_evicts(evicting_url: str, namespace: str) -> None:
    message = refused(UnsafeStore, evicting_url, namespace, *MODULES)
    assert "maxmemory-policy" in message
    assert "noeviction" in message


def test_an_actors_module_of_the_users(tmp_path: Path, debian_redis_url: str) -> None:
    (tmp_path / "actors.py").write_text("STAGE = 'theatre'\n")
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "main.py").write_text(
        "import sys, sagas\n"
        "try:\n"
        f"    sagas.up(['shop'], {debian_redis_url!r})\n"
        "except sagas.DefinitionError as error:\n"
        "    print(error, 'ray' in sys.modules)\n"
    )
    ran = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{tmp_path}/actors.py shadows the package 'actors' of this library")
    assert ran.stdout.endswith("False\n")  # nothing of Ray was even imported
