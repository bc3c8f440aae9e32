"""Fixtures: a folder with a user's module, a store in it, and a host."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagas.server import EmbeddedServer
from tests.cli.console import Console

HERE = Path(__file__).parent


def folder_with_shop() -> tempfile.TemporaryDirectory[str]:
    """A new folder at a path short enough for sockets."""
    folder = tempfile.TemporaryDirectory(prefix="sg")
    shutil.copy(HERE / "shop.py", folder.name)
    return folder


@pytest.fixture
def console() -> Iterator[Console]:
    """A folder with ``shop.py``, and no store."""
    with folder_with_shop() as folder:
        yield Console(Path(folder))


@pytest.fixture(scope="module")
def hostless() -> Iterator[Console]:
    """A folder with ``shop.py`` and a store, and nobody who runs sagas."""
    with folder_with_shop() as folder, EmbeddedServer.start(Path(folder, ".sagas"), die_with_parent=True):
        yield Console(Path(folder))


@pytest.fixture(scope="module")
def shop() -> Iterator[Console]:
    """A folder with ``shop.py``, a store, and a host."""
    with folder_with_shop() as folder, EmbeddedServer.start(Path(folder, ".sagas"), die_with_parent=True) as server:
        console = Console(Path(folder))
        host = subprocess.Popen(
            [sys.executable, HERE / "host.py", server.url, "shop"],
            cwd=folder,
            env=console.environment | {"PYTHONPATH": f"{console.environment['PYTHONPATH']}:{folder}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with host:
            assert host.stdout is not None
            assert host.stdout.readline() == "up\n"
            yield console
            host.communicate()
        assert host.returncode == 0
