"""The guard while a saga runs: the clock, chance and the world are refused to it, and to nobody else."""

from __future__ import annotations

import asyncio
import datetime
import functools
import importlib
import logging
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import warnings
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import sagas
from sagas import QueryFailed, activity, compensating, query, saga
from sagas.engine import guard
from sagas.kernel.forbidden import WATCHED
from tests.kernel.driver import Run, kinds

guard.install()


@activity
async def pay(cents: int) -> str:
    return f"paid {cents}"


@pay.compensation
async def refund(receipt: str | None, cents: int) -> None: ...


def called(name: str) -> Any:
    """What ``name`` means, as saga code would reach it; None where this Python has no such thing."""
    module, *path = name.split(".")
    return functools.reduce(lambda owner, each: getattr(owner, each, None), path, importlib.import_module(module))


@pytest.fixture(autouse=True)
def _evicted() -> Any:
    yield
    while Run.live:
        Run.live.pop().instance.evict()


def parked_by(code: Callable[[], Any]) -> str:
    @saga
    async def flow() -> None:
        async with compensating():
            await pay(1)
            code()  # sagas: unguarded

    run = Run(flow)
    run.start()
    assert run.give(run.done("pay")) == []
    assert run.steps() == ["pay"]
    return run.park


@pytest.mark.parametrize("name", [name for name in WATCHED if called(name) is not None])
def test_a_watched_function_parks_with_its_name_and_what_to_use(name: str) -> None:
    assert parked_by(called(name)) == f"Refused: saga code called {name}(), that is {WATCHED[name]}"


def _listen() -> None:
    socket.create_server(("127.0.0.1", 0))


WORLD: list[tuple[Callable[[], Any], str]] = [
    (lambda: Path(__file__).read_text(), "open, that is a file: do I/O in an @activity"),
    (lambda: os.open(__file__, os.O_RDONLY), "open, that is a file"),
    (lambda: os.listdir("."), "os.listdir, that is a file"),
    (tempfile.mkdtemp, "tempfile.mkdtemp, that is a file"),
    (socket.socket, "socket.__new__, that is a socket"),
    (_listen, "that is a socket"),
    (lambda: socket.getaddrinfo("localhost", 80), "a name look-up"),
    (lambda: subprocess.run(["true"], check=False), "a process: start it in an @activity"),
    (lambda: os.system("true"), "os.system, that is a process"),
    (lambda: os.kill(os.getpid(), 0), "os.kill, that is a process"),
    (lambda: os.putenv("A", "B"), "os.putenv"),
    (input, "send the instance a signal"),
    (secrets.token_hex, "chance that no replay can repeat"),
    (lambda: random.SystemRandom().random(), "chance that no replay can repeat"),
    (lambda: threading.Thread(target=print).start(), "put the work into an @activity"),
]


@pytest.mark.parametrize(("code", "says"), WORLD)
def test_the_world_is_refused_whatever_leads_to_it(code: Callable[[], Any], says: str) -> None:
    reason = parked_by(code)
    assert reason.startswith("Refused: saga code ")
    assert says in reason


def test_caught_it_is_logged_and_every_replay_takes_the_same_way(caplog: pytest.LogCaptureFixture) -> None:
    @saga
    async def flow() -> str:
        try:
            called("time.time")()
        except sagas.DefinitionError as error:
            await pay(1)
            return str(error)
        return "it was had"

    run = Run(flow)
    assert kinds(run.start()) == ["StepScheduled"]
    run.give(run.done("pay"))
    assert "use sagas.now()" in run.result
    assert [record.getMessage() for record in caplog.records if record.name == "sagas.saga"] == [run.result]


@saga
@dataclass
class Asked:
    key: uuid.UUID = field(default_factory=lambda: uuid.UUID(int=1))

    async def run(self) -> None:
        await sagas.wait_until(lambda: False)

    @query
    def now(self) -> float:
        return called("time.time")()  # type: ignore[no-any-return]


def test_a_query_is_refused_too_and_the_run_goes_on() -> None:
    run = Run(Asked)
    run.start()
    with pytest.raises(QueryFailed, match=r"use sagas\.now\(\)"):
        run.ask(Asked.now)
    assert run.give() == []
    assert run.park == ""


def test_what_the_library_and_python_do_in_its_name_passes(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_imported_before.py").write_text("import time\nSTARTED = time.time()\n")
    monkeypatch.syspath_prepend(tmp_path)

    @saga
    async def flow() -> list[Any]:
        sagas.logger.warning("logged %s", sagas.uuid4())
        logging.getLogger("mine").warning("logged too")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn("a file is read for its line", stacklevel=1)
        late = importlib.import_module("never_imported_before")
        there = zoneinfo.ZoneInfo.no_cache("Europe/Berlin")
        dice = random.Random(sagas.random())
        return [type(late.STARTED).__name__, sagas.now().astimezone(there).hour, dice.randint(1, 6) < 7]

    run = Run(flow)
    run.start()
    assert run.park == ""
    assert run.result == ["float", 1, True]
    assert {record.message for record in caplog.records} >= {"logged too"}


class Salted:
    """A codec with a nonce."""

    name = "salted"

    def encode(self, data: bytes, /) -> bytes:
        return os.urandom(4) + data

    def decode(self, data: bytes, /) -> bytes:
        return data[4:]


def test_a_codec_may_throw_dice_while_a_saga_runs() -> None:
    @saga
    async def flow() -> str:
        return await pay(1)

    sagas.use_codec(Salted())
    try:
        run = Run(flow)
        run.start()
        run.give(run.done("pay", "paid"))
        assert run.result == "paid"
    finally:
        sagas.use_codec(None)


def test_code_that_knows_better_passes_and_only_there() -> None:
    @saga
    async def flow() -> str:
        with sagas.unguarded():
            assert time.time() > 0
            assert Path(__file__).exists()
            Path(__file__).read_bytes()
        await pay(1)
        time.time()  # sagas: unguarded
        return "never"

    run = Run(flow)
    assert kinds(run.start()) == ["StepScheduled"]
    assert run.give(run.done("pay")) == []
    assert "time.time()" in run.park


def test_a_task_beside_it_does_not_pass_with_it() -> None:
    async def look() -> None:
        await pay(1)
        called("time.time")()

    @saga
    async def flow() -> None:
        beside = asyncio.create_task(look())
        with sagas.unguarded():
            await pay(2)
            await beside

    run = Run(flow)
    run.start()
    run.give(run.done("pay", nth=1))
    assert run.give(run.done("pay")) == []
    assert "time.time()" in run.park


def test_nobody_else_notices() -> None:
    heard: list[Any] = []

    @saga
    async def flow() -> None:
        # Another thread goes on while saga code runs.
        with sagas.unguarded():
            thread = threading.Thread(target=lambda: heard.append((time.time(), random.random(), os.urandom(1))))
            thread.start()
            thread.join()

    run = Run(flow)
    run.start()
    assert run.park == ""
    assert len(heard) == 2  # the driver replays what it did

    async def outside() -> float:
        await asyncio.to_thread(Path(__file__).read_text)
        return time.monotonic() + random.random() + uuid.uuid4().int

    assert asyncio.run(outside()) > 0
    assert time.sleep.__name__ == "sleep"
    assert datetime.datetime.now(datetime.UTC).year > 2000


def test_it_is_put_in_place_once() -> None:
    before = time.time
    guard.install()
    assert time.time is before
    assert not hasattr(time.time.__wrapped__, "__wrapped__")  # type: ignore[attr-defined]


def test_importing_sagas_changes_nothing() -> None:
    probe = "import time; before = time.time; import sagas; from sagas import Client, saga; assert time.time is before"
    subprocess.run(
        [sys.executable, "-c", probe], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
