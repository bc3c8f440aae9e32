"""The thread of a synchronous client: what happens to calls at Ctrl-C, at close, in a loop, in a fork, at exit."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import sagas
from sagas import SagaError, SyncClient
from sagas.sync.thread import ClientThread
from tests.server.processes import wait_until

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def client_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sagas-sync-client"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert client_threads() == []


class Endless:
    """A call that ends only by being cancelled."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self) -> None:
        self.begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        self.cancelled.set()


@pytest.fixture
def thread(debian_redis_url: str, namespace: str) -> Iterator[ClientThread]:
    thread = ClientThread(debian_redis_url, namespace)
    yield thread
    thread.close()


def test_ctrl_c_cancels_the_call_and_nothing_else(thread: ClientThread) -> None:
    interrupted, others = Endless(), Endless()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            other = pool.submit(thread.call, others)
            pool.submit(lambda: interrupted.begun.wait() and os.kill(os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                thread.call(interrupted)
            assert interrupted.cancelled.wait(60)
            assert others.begun.wait(60)
            assert not others.cancelled.is_set()
            assert thread.call(thread.client.count) == 0
            thread.close()
            with pytest.raises(SagaError, match="closed"):
                other.result()
    finally:
        signal.signal(signal.SIGINT, before)


def test_close_ends_the_calls_of_other_threads(client: SyncClient) -> None:
    handle = client.start_by_name("nobody_runs_this", id="a")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(handle.result) for _ in range(3)]
        wait_until(lambda: len(client._thread._answers) == 3, "three calls under way")
        client.close()
        for each in waiting:
            with pytest.raises(SagaError, match="closed"):
                each.result()


def test_closed_is_closed(client: SyncClient) -> None:
    handle = client.get("a")
    rows = client.list()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(client.close) for _ in range(8)]:
            each.result()
    client.close()
    assert client_threads() == []
    for call in (client.count, handle.describe, lambda: handle.signal("x"), lambda: next(rows)):
        with pytest.raises(SagaError, match=r"closed: open another with sagas\.connect_sync\(\)"):
            call()


def test_where_a_loop_runs_it_says_what_to_use(client: SyncClient, debian_redis_url: str, namespace: str) -> None:
    async def wrong_and_right() -> int:
        for call in (client.count, lambda: sagas.connect_sync(debian_redis_url, namespace)):
            with pytest.raises(SagaError, match=r"use `await sagas\.connect"):
                call()
        return await asyncio.to_thread(client.count)

    assert asyncio.run(wrong_and_right()) == 0


def test_a_call_from_its_own_loop_is_refused(thread: ClientThread) -> None:
    async def inside() -> None:
        thread.call(thread.client.count)

    with pytest.raises(SagaError, match="an event loop runs in this thread"):
        thread.call(inside)


def test_a_failed_connection_leaves_no_thread() -> None:
    with pytest.raises(SagaError):
        sagas.connect_sync("unix:///nowhere/nobody.sock")
    wait_until(lambda: client_threads() == [], "the end of the thread")


def test_ctrl_c_while_it_connects(debian_redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that comes too late is closed again."""
    begun, go_on, made = threading.Event(), threading.Event(), []

    async def slow(url: str | None, namespace: str) -> sagas.Client:
        begun.set()
        await asyncio.to_thread(go_on.wait)
        made.append(await sagas.connect(url, namespace))
        return made[0]

    monkeypatch.setattr("sagas.sync.thread.connect", slow)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: begun.wait() and os.kill(os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                sagas.connect_sync(debian_redis_url, namespace)
    finally:
        signal.signal(signal.SIGINT, before)
        go_on.set()
    wait_until(lambda: client_threads() == [], "the end of the thread")
    assert len(made) == 1


def test_garbage_is_closed(debian_redis_url: str, namespace: str) -> None:
    handle = sagas.connect_sync(debian_redis_url, namespace).start_by_name("nobody_runs_this", id="a")
    gc.collect()
    with pytest.raises(TimeoutError):
        handle.result(timeout=0.01)  # the handle keeps it alive
    del handle
    gc.collect()
    wait_until(lambda: client_threads() == [], "the end of the thread")


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    # That a process with threads is forked is what the test is about; newer Pythons warn of it.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", HERE / name, *words]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=100, check=False
    )


def test_after_a_fork_it_says_to_connect_in_the_worker(debian_redis_url: str, namespace: str) -> None:
    ran = script("forking.py", debian_redis_url, namespace)
    assert ran.stderr == ""
    assert ran.returncode == 0
    call, again, parent = ran.stdout.splitlines()
    assert "SagaError" in call
    assert "call sagas.connect_sync() in each worker" in call
    assert (again, parent) == ("child: True", "parent: True")


@pytest.mark.parametrize("way", ["idle", "blocked", "exit handler"])
def test_exit_never_waits_for_it(way: str, debian_redis_url: str, namespace: str) -> None:
    ran = script("leaving.py", debian_redis_url, namespace, way)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == ("count 0\n" if way == "exit handler" else "")
