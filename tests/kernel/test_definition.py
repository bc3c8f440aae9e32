"""What no saga can be right to call is refused where it is declared; names that may mean something else are let be."""

# ruff: noqa: DTZ003, DTZ011, F402, PLC0208  # what linters see here is what is tested

from __future__ import annotations

import asyncio
import datetime as dt
import random
import secrets
import socket
import subprocess
import threading
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import sleep as nap
from typing import Any
from urllib.request import urlopen

import httpx
import pytest

import sagas
from sagas import DefinitionError, DeterminismWarning, activity, query, saga, signal, unguarded, update
from sagas.kernel.definition import check_function
from sagas.kernel.saga import saga_type_of

Code = Callable[[], Awaitable[Any]]
WRONG: list[tuple[Code, str]] = []


def wrong(says: str) -> Callable[[Code], Code]:
    def declare(function: Code) -> Code:
        WRONG.append((function, says))
        return function

    return declare


@wrong("time.sleep() (")
async def sleeps() -> None:
    time.sleep(1)


@wrong("use await asyncio.sleep() or sagas.sleep()")
async def sleeps_by_another_name() -> None:
    nap(1)


@wrong("time.time() (")
async def asks_the_clock_in_the_middle() -> float:
    if time.monotonic:
        return [2 * (1 + time.time())][0]
    return 0


@wrong("use sagas.now()")
async def asks_the_calendar() -> datetime:
    return datetime.now(dt.UTC)


@wrong("datetime.datetime.utcnow() (")
async def asks_the_calendar_by_another_name() -> datetime:
    return dt.datetime.utcnow()


@wrong("datetime.date.today() (")
async def asks_for_the_day() -> dt.date:
    return dt.date.today()


@wrong("random.choice() (")
async def throws_dice() -> int:
    return random.choice([1, 2])


@wrong("random.Random() (")
async def makes_dice_of_its_own() -> float:
    return random.Random().random()


@wrong("use sagas.uuid4()")
async def makes_ids() -> str:
    return f"{uuid.uuid4()}"


@wrong("secrets.token_hex() (")
async def keeps_secrets() -> str:
    return secrets.token_hex()


@wrong("threading.Thread() (")
async def starts_a_thread() -> None:
    threading.Thread(target=print).start()


@wrong("open() (")
async def reads_a_file() -> str:
    with open(__file__) as file:
        return file.read()


@wrong("subprocess.run() (")
async def starts_a_process() -> None:
    subprocess.run(["true"], check=False)


@wrong("socket.create_connection() (")
async def connects() -> None:
    socket.create_connection(("localhost", 1))


@wrong("urllib.request.urlopen() (")
async def fetches() -> None:
    urlopen("http://localhost")


@wrong("httpx.get() (")
async def fetches_otherwise() -> None:
    httpx.get("http://localhost")


@wrong("input() (")
async def asks_a_person() -> str:
    return input("?")


@wrong("time.sleep() (")
async def imports_late() -> None:
    import time as clock

    clock.sleep(1)


@wrong("uuid.uuid1() (")
async def imports_a_name_late() -> None:
    from uuid import uuid1 as make

    make()


@wrong("time.sleep() (")
async def in_a_function_of_its_own() -> None:
    async def inner() -> None:
        time.sleep(1)

    await inner()


def closing() -> Code:
    clock = time

    @wrong("time.time() (")
    async def asks_a_closure() -> float:
        return clock.time()

    return asks_a_closure


closing()


@pytest.mark.parametrize(("code", "says"), WRONG, ids=[code.__name__ for code, _ in WRONG])
def test_a_function_is_refused_with_its_line_and_what_to_use(code: Any, says: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        saga(code)
    assert says in str(refused.value)
    assert f"saga {code.__name__!r} cannot run" in str(refused.value)
    assert "unguarded" in str(refused.value)
    first = code.__code__.co_firstlineno
    place = str(refused.value).partition(f"{Path(__file__).name}, line ")[2].partition(")")[0]
    assert first < int(place) < first + 8


class Clock:
    def time(self) -> float:
        return 7

    def sleep(self, seconds: float) -> None: ...


RIGHT: list[Code] = []


def right(function: Any) -> Any:
    RIGHT.append(function)
    return function


@right
async def is_given_another_clock(time: Any) -> float:
    return float(time.time())


@right
async def has_another_clock() -> float:
    time = Clock()
    time.sleep(1)
    return time.time()


@right
async def loops_over_clocks() -> None:
    for time in (Clock(), Clock()):
        time.sleep(1)
    with warnings.catch_warnings() as random:
        random.choice()  # type: ignore[attr-defined]
    try:
        raise OSError
    except OSError as uuid:
        uuid.uuid4()  # type: ignore[attr-defined]
    [datetime.now() for datetime in ()]
    open = print
    open("nothing")


def within() -> Any:
    time = Clock()

    @right
    async def closes_over_another_clock() -> float:
        return time.time()

    return closes_over_another_clock


within()


@right
async def means_something_else() -> Any:
    dice = random.Random(sagas.random())
    await asyncio.sleep(1)
    time.strptime("2024", "%Y")
    timeout = httpx.Timeout(5)
    at = datetime(2024, 1, 1).astimezone(dt.UTC)
    time.gmtime(0)
    subprocess.CompletedProcess([], 0)
    return dice.choice([1, 2]), timeout, at, uuid.UUID(int=1), sagas.uuid4(), sagas.now()


@right
async def is_refused_by_asyncio_and_may_catch_that() -> None:
    try:
        await asyncio.to_thread(print)
    except RuntimeError:
        await asyncio.get_running_loop().run_in_executor(None, print)


@right
async def knows_better() -> float:
    with sagas.unguarded():
        started = time.perf_counter()
    with unguarded():
        return time.perf_counter() - started


@right
async def knows_better_in_one_line() -> float:
    return time.time()  # sagas: unguarded  # the test of the opt-out


@right
async def declares_an_activity() -> Any:
    @activity
    def work() -> float:
        return time.time()

    return work


@pytest.mark.parametrize("code", RIGHT)
def test_what_may_be_right_is_let_be(code: Any) -> None:
    assert saga_type_of(saga(code)).name == code.__name__


def test_in_a_class_all_that_runs_is_read() -> None:
    with pytest.raises(DefinitionError) as refused:

        @saga
        @dataclass
        class Everywhere:
            key: str = field(default_factory=lambda: "")
            made: uuid.UUID = field(default_factory=uuid.uuid4)

            def __post_init__(self) -> None:
                self.at = time.time()

            async def run(self) -> None:
                self.help()

            def help(self) -> None:
                self.help_more()

            def help_more(self) -> None:
                random.random()

            def nobody_calls_it(self) -> None:
                secrets.token_hex()

            @staticmethod
            def tool() -> None:
                secrets.token_urlsafe()

            @signal
            async def hear(self) -> None:
                time.sleep(1)

            @update
            def change(self) -> None: ...

            @change.validator
            def check(self) -> None:
                socket.gethostbyname("localhost")

            @query
            def ask(self) -> str:
                return f"{dt.date.today()}"

    said = str(refused.value)
    for each in (
        "default_factory=uuid.uuid4",
        "time.time",
        "random.random",
        "time.sleep",
        "date.today",
        "socket.gethost",
    ):
        assert each in said
    assert "secrets" not in said


def test_an_inherited_run_is_read_too() -> None:
    class Base:
        async def run(self) -> None:
            time.sleep(1)

    with pytest.raises(DefinitionError, match=r"Base\.run calls time\.sleep"):

        @saga
        class Child(Base): ...


def test_without_a_source_there_is_no_opinion() -> None:
    space: dict[str, Any] = {"__name__": "__console__"}
    exec("import time\nasync def flow():\n    time.sleep(1)", space)  # noqa: S102  # as a REPL would
    assert saga_type_of(saga(space["flow"])).name == "flow"


def test_another_function_at_its_place_in_the_file_is_not_read() -> None:
    sleeps.__name__ = "edited"
    try:
        check_function("flow", sleeps)
    finally:
        sleeps.__name__ = "sleeps"


@activity
async def note(what: Any) -> Any:
    return what


async def iterates_over_words() -> None:
    for each in {"a", "b"}:
        await note(each)


async def gathers_a_set() -> None:
    words = ["a"]
    await asyncio.gather(*(note(each) for each in set(words) | {"b"}))


async def comprehends_a_set() -> list[Any]:
    return [await note(each) for each in frozenset(("a", "b"))]


@pytest.mark.parametrize("code", [iterates_over_words, gathers_a_set, comprehends_a_set])
def test_an_order_that_a_set_decides_is_warned_of(code: Any) -> None:
    with pytest.warns(DeterminismWarning, match="sorted") as warned:
        saga(code)
    assert (warned[0].filename, len(warned)) == (__file__, 1)
    assert code.__code__.co_firstlineno < warned[0].lineno < code.__code__.co_firstlineno + 4


async def sorts_first() -> None:
    for each in sorted({"a", "b"}):
        await note(each)
    for number in {1, 2}:
        await note(number)
    words = {each.upper() for each in {"a", "b"}}
    for word in {"a", "b"}:
        words.add(word)
    for word in {"x", "y"}:  # sagas: unguarded
        await note(word)


def test_a_set_whose_order_decides_nothing_is_let_be() -> None:
    saga(sorts_first)
