"""The very settings that the pods get, on a real server: `sagas doctor` has nothing against the event store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from sagas.server import examine
from sagas.server.rules import Finding
from tests.k8s.manifests import BASE, Manifest, named, of_kind
from tests.servers import STARTUP_S, binary_of

PASSWORD = secrets.token_hex(32)


@contextlib.contextmanager
def serving(conf: Path) -> Iterator[str]:
    """A server with this configuration but for folder and port, started as the pod starts it; gives its URL."""
    binary = binary_of("debian")
    if binary is None:
        pytest.skip("no redis-server on PATH: install it to run this test")
    folder = Path(tempfile.mkdtemp(prefix="sagas-k8s-"))  # not pytest's: a socket's path must be short
    own = folder / "redis.conf"
    own.write_text(conf.read_text().replace("\ndir /data\n", f"\ndir {folder}\n"))
    assert str(folder) in own.read_text()
    path = f"{Path(binary).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "REDIS_PASSWORD": PASSWORD, "REDIS_CONF": str(own), "REDIS_RUN": str(folder)}
    command = ["sh", str(BASE / "bin" / "start-redis.sh"), "--port", "0", "--unixsocket", f"{folder}/s"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        url = f"unix://{quote(str(folder))}/s?password={PASSWORD}"
        _wait(url, process, folder / "log")
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTUP_S
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except (redis.ConnectionError, redis.TimeoutError):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.01)
            else:
                return


@pytest.fixture(params=["store", "gcs"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with serving(BASE / request.param / "redis.conf") as found:
        yield found


def test_the_doctor_has_nothing_against_the_event_store() -> None:
    with serving(BASE / "store" / "redis.conf") as url:
        findings: list[Finding] = asyncio.run(examine(url))
    assert {each.subject: each.severity for each in findings} == {
        "version": "ok",
        "role": "ok",
        "maxmemory-policy": "ok",
        "maxmemory": "ok",
        "no-appendfsync-on-rewrite": "ok",
        "appendonly": "ok",
        "appendfsync": "ok",
        "network": "ok",
    }


def test_an_acknowledged_write_is_on_the_disk() -> None:
    with serving(BASE / "store" / "redis.conf") as url, redis.Redis.from_url(url, decode_responses=True) as client:
        settings = client.config_get("append*", "no-append*", "save", "maxmemory-policy")
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")
        assert (settings["no-appendfsync-on-rewrite"], settings["save"]) == ("no", "")
        assert settings["maxmemory-policy"] == "noeviction"


def test_nobody_comes_in_without_the_password(url: str) -> None:
    with redis.Redis.from_url(url.partition("?")[0]) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with redis.Redis.from_url(url) as client:
        assert client.ping()


def test_the_password_is_on_no_command_line(url: str) -> None:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        pid = client.info("server")["process_id"]
    assert PASSWORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_server_leaves_memory_for_the_fork_that_rewrites_its_log(base: list[Manifest]) -> None:
    for each in of_kind(base, "StatefulSet"):
        (container,) = each["spec"]["template"]["spec"]["containers"]
        limit = container["resources"]["limits"]["memory"]
        (config,) = [
            one["configMap"]["name"] for one in each["spec"]["template"]["spec"]["volumes"] if "configMap" in one
        ]
        lines = named(base, "ConfigMap", config)["data"]["redis.conf"].splitlines()
        (most,) = [line.split()[1] for line in lines if line.startswith("maxmemory ")]
        assert int(most.removesuffix("mb")) * 1.5 <= _mib(limit), each["metadata"]["name"]


def _mib(quantity: str) -> int:
    unit = {"Mi": 1, "Gi": 1024}[quantity[-2:]]
    return int(quantity[:-2]) * unit
