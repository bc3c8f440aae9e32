"""``sagas.testing.replay``: recorded histories held against code, one or many, as events or as a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import sagas
from sagas import HistoryError, InvalidArgument, NondeterminismError, activity, saga
from sagas.kernel.events import Event, decode_histories, encode_histories
from sagas.testing import environment, replay

MORE = {"sleep": False}
"""What code of a later day does otherwise."""


@activity
async def add(n: int) -> int:
    return n + 1


@saga
async def climb(n: int) -> int:
    n = await add(n)
    if MORE["sleep"]:
        await sagas.sleep(1)
    return await add(n)


@saga
async def rest() -> None: ...


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MORE, "sleep", True)


@pytest.fixture(scope="module")
def histories() -> list[list[Event]]:
    """Of two runs that climb."""

    async def record() -> list[list[Event]]:
        async with environment() as env:
            handles = [await env.client.start(climb, n, id=f"climb-{n}") for n in (1, 5)]
            assert [await handle.result() for handle in handles] == [3, 7]
            return [await handle.history() for handle in handles]

    return asyncio.run(record())


def test_code_that_fits_says_nothing_however_the_history_is_given(histories: list[list[Event]], tmp_path: Path) -> None:
    path = tmp_path / "two.history"
    path.write_bytes(encode_histories(histories))
    for given in (histories[0], histories, iter(histories), path, str(path), path.read_bytes(), [path, histories[1]]):
        replay(climb, given)


@pytest.mark.usefixtures("changed")
def test_a_history_that_parts_says_where_and_which_run(histories: list[list[Event]]) -> None:
    for given in (histories[0], encode_histories(histories[:1])):
        with pytest.raises(NondeterminismError) as parted:
            replay(climb, given)
        error = parted.value
        assert (error.position, error.found) == (5, "TimerSet(timer=2)")
        assert error.expected == "StepScheduled(step=2, activity='add')"
        assert "'climb-1'" in error.__notes__[0]


@pytest.mark.usefixtures("changed")
def test_of_many_all_that_part_are_told(histories: list[list[Event]]) -> None:
    fits = histories[0][:4]  # before the place where the code is new
    for given in ([fits, *histories], encode_histories([fits, *histories])):
        with pytest.raises(ExceptionGroup, match="2 of 3 histories of 'climb'") as parted:
            replay(climb, given)
        assert parted.group_contains(NondeterminismError)
        assert [error.__notes__[0].split("'")[1] for error in parted.value.exceptions] == ["climb-1", "climb-5"]


def test_a_history_of_another_saga_is_refused(histories: list[list[Event]]) -> None:
    with pytest.raises(InvalidArgument, match="a history of saga 'climb', not of 'rest'"):
        replay(rest, histories[0])


@pytest.mark.parametrize("nothing", [[], (), iter(()), encode_histories([])])
def test_nothing_proves_nothing(nothing: object) -> None:
    with pytest.raises(InvalidArgument, match="no history"):
        replay(climb, nothing)  # type: ignore[arg-type]


def test_what_cannot_be_read_is_said(histories: list[list[Event]], tmp_path: Path) -> None:
    data = encode_histories(histories)
    assert decode_histories(data) == histories
    for damaged in (data[:-1], data[:40], data + b"\xc1", data + b"\x07"):
        with pytest.raises(HistoryError, match="damaged"):
            replay(climb, damaged)
    with pytest.raises(HistoryError, match="sagas history 1"):
        replay(climb, data.replace(b" 1\n", b" 2\n"))
    with pytest.raises(HistoryError, match="begins with RunStarted"):
        replay(climb, histories[0][1:])
    with pytest.raises(InvalidArgument, match="cannot be read"):
        replay(climb, tmp_path / "absent.history")
