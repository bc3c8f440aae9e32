"""Starting: what is refused, which ids are taken, and what happens when an id is taken already."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import sagas
from sagas import SagaAlreadyStarted, SagaNotFound, saga, signal
from tests.conformance.world import World


@saga
class Job:
    """Ends as it is told."""

    def __init__(self, name: str = "job") -> None:
        self.name = name
        self.how = ""

    async def run(self) -> str:
        await sagas.wait_until(lambda: self.how)
        if self.how == "fail":
            raise ValueError("told to")
        return self.name

    @signal
    def end(self, how: str) -> None:
        self.how = how


async def ended(world: World, how: str, name: str = "first") -> sagas.Handle[Any]:
    """An instance "j" that ended so."""
    handle = await world.client.start(Job, name, id="j")
    match how:
        case "completed" | "failed":
            await handle.signal(Job.end, "fail" if how == "failed" else "well")
        case "cancelled":
            await handle.cancel()
        case "terminated":
            await handle.terminate()
    if how == "completed":
        assert await handle.result() == name
    else:
        with pytest.raises(sagas.SagaError):
            await handle.result()
    assert (await handle.describe()).status == how
    return handle


# --- while one goes on ----------------------------------------------------------------------------------


def test_by_default_a_second_start_is_refused(everywhere: World) -> None:
    async def scenario() -> None:
        first = await everywhere.client.start(Job, "first", id="j")
        for options in ({}, {"on_conflict": "fail"}):
            with pytest.raises(SagaAlreadyStarted) as refused:
                await everywhere.client.start(Job, "second", id="j", **options)
            assert refused.value.id == "j"
            assert refused.value.run_id == (await first.describe()).run_id
            assert refused.value.status == "running"
        await first.signal(Job.end, "well")
        assert await first.result() == "first"

    everywhere.run(scenario)


def test_use_existing_gives_the_one_that_goes_on(everywhere: World) -> None:
    async def scenario() -> None:
        first = await everywhere.client.start(Job, "first", id="j")
        second = await everywhere.client.start(Job, "second", id="j", on_conflict="use_existing")
        assert (await first.describe()).run_id == (await second.describe()).run_id
        await second.signal(Job.end, "well")
        assert await first.result() == "first"
        assert await second.result() == "first"

    everywhere.run(scenario)


def test_terminate_existing_makes_way(everywhere: World) -> None:
    async def scenario() -> None:
        first = await everywhere.client.start(Job, "first", id="j")
        second = await everywhere.client.start(Job, "second", id="j", on_conflict="terminate_existing")
        with pytest.raises(sagas.SagaTerminated):
            await first.result()
        await second.signal(Job.end, "well")
        assert await second.result() == "second"

    everywhere.run(scenario)


def test_a_parked_instance_goes_on(world: World) -> None:
    @saga
    async def buggy() -> None:
        raise NameError("bug")

    async def scenario() -> None:
        handle = await world.client.start(buggy, id="j")
        await world.until_parked(handle)
        with pytest.raises(SagaAlreadyStarted):
            await world.client.start(buggy, id="j")

    world.run(scenario)


# --- after one has ended --------------------------------------------------------------------------------

_ENDS = ("completed", "failed", "cancelled", "terminated")


@pytest.mark.parametrize("how", _ENDS)
@pytest.mark.parametrize("options", [{}, {"on_reuse": "allow"}], ids=["default", "allow"])
def test_allow_takes_an_id_again(world: World, how: str, options: dict[str, Any]) -> None:
    async def scenario() -> None:
        await ended(world, how)
        second = await world.client.start(Job, "second", id="j", **options)
        await second.signal(Job.end, "well")
        assert await second.result() == "second"

    world.run(scenario)


@pytest.mark.parametrize("how", _ENDS)
def test_allow_failed_takes_the_id_of_one_that_did_not_complete(world: World, how: str) -> None:
    async def scenario() -> None:
        await ended(world, how)
        if how == "completed":
            with pytest.raises(SagaAlreadyStarted) as refused:
                await world.client.start(Job, "second", id="j", on_reuse="allow_failed")
            assert refused.value.status == "completed"
            return
        second = await world.client.start(Job, "second", id="j", on_reuse="allow_failed")
        await second.signal(Job.end, "well")
        assert await second.result() == "second"

    world.run(scenario)


@pytest.mark.parametrize("how", _ENDS)
def test_reject_never_takes_an_id_again(world: World, how: str) -> None:
    async def scenario() -> None:
        await ended(world, how)
        for conflict in ("fail", "terminate_existing"):
            with pytest.raises(SagaAlreadyStarted) as refused:
                await world.client.start(Job, "second", id="j", on_reuse="reject", on_conflict=conflict)
            assert refused.value.status == how

    world.run(scenario)


def test_reject_lets_a_first_run_start(world: World) -> None:
    async def scenario() -> None:
        handle = await world.client.start(Job, "first", id="j", on_reuse="reject")
        await handle.signal(Job.end, "well")
        assert await handle.result() == "first"

    world.run(scenario)


def test_a_handle_follows_its_own_run(everywhere: World) -> None:
    async def scenario() -> None:
        first = await ended(everywhere, "completed", "first")
        second = await everywhere.client.start(Job, "second", id="j")
        assert await first.result() == "first"
        await everywhere.client.get("j").signal(Job.end, "well")
        assert await second.result() == "second"
        assert await first.result() == "first"
        assert await everywhere.client.get("j").result() == "second"
        run_id = (await first.describe()).run_id
        assert run_id != (await second.describe()).run_id
        assert await everywhere.client.get("j", run_id=run_id).result() == "first"

    everywhere.run(scenario)


@pytest.mark.parametrize("option", ["on_conflict", "on_reuse"])
def test_an_unknown_policy_is_refused(world: World, option: str) -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.SagaError, match="whatever"):
            await world.client.start(Job, "first", id="j", **{option: "whatever"})
        with pytest.raises(SagaNotFound):
            await world.client.get("j").describe()

    world.run(scenario)


# --- ids ------------------------------------------------------------------------------------------------

ODD_IDS = [
    "with spaces ",
    "smile 😀",
    "a/b/../c",
    'it\'s "quoted" `so`',
    "{braces}{}",
    "sg:{x}:*?[a-z]",
    "%s %(id)s {0}",
    "back\\slash",
    "a,b;c|d&e=f",
    "ünïcödé",
    "x" * 512,
    "é" * 256,
]


@pytest.mark.parametrize("id", ODD_IDS, ids=range(len(ODD_IDS)))
def test_odd_ids_are_ids(everywhere: World, id: str) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Job, "odd", id=id)
        other = await everywhere.client.start(Job, "other", id="other")
        await everywhere.client.get(id).signal(Job.end, "well")
        assert await handle.result() == "odd"
        described = await everywhere.client.get(id).describe()
        assert (described.id, described.status) == (id, "completed")
        assert [row.id async for row in everywhere.client.list("status = 'completed'")] == [id]
        assert (await other.describe()).status == "running"

    everywhere.run(scenario)


BAD_IDS: list[Any] = ["", "a\nb", "a\x00b", "tab\t", "\x7f", "x" * 513, "é" * 257, 7, b"bytes", "lone \ud800 surrogate"]


@pytest.mark.parametrize("id", BAD_IDS, ids=range(len(BAD_IDS)))
def test_bad_ids_are_refused_clearly(world: World, id: Any) -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.SagaError, match="id"):
            await world.client.start(Job, "bad", id=id)
        with pytest.raises(sagas.SagaError, match="id"):
            await world.client.signal_with_start(Job, "bad", id=id, signal=Job.end, signal_args=("well",))
        assert await world.client.count() == 0

    world.run(scenario)


def test_without_an_id_each_run_gets_its_own(world: World) -> None:
    @saga
    async def flow(n: int) -> int:
        return n

    async def scenario() -> None:
        one = await world.client.start(flow, 1)
        two = await world.client.start(flow, 2)
        assert one.id
        assert one.id != two.id
        assert await world.client.get(two.id).result() == 2
        assert await world.client.execute(flow, 3) == 3

    world.run(scenario)


# --- arguments ------------------------------------------------------------------------------------------


@saga
async def add(a: int, b: int = 1) -> int:
    return a + b


@pytest.mark.parametrize("args", [(), (1, 2, 3)])
def test_wrong_arguments_start_nothing(world: World, args: tuple[int, ...]) -> None:
    async def scenario() -> None:
        with pytest.raises(sagas.ArgumentMismatch, match="add") as refused:
            await world.client.start(add, *args, id="a")
        assert isinstance(refused.value, TypeError)
        with pytest.raises(sagas.ArgumentMismatch):
            await world.client.start(Job, "a", "b", id="a")
        with pytest.raises(SagaNotFound):
            await world.client.get("a").describe()

    world.run(scenario)


def test_an_argument_that_cannot_be_encoded_starts_nothing(world: World) -> None:
    @saga
    async def take(thing: Any) -> None: ...

    async def scenario() -> None:
        for thing in (object(), threading.Lock(), lambda: None, {"deep": [object()]}):
            with pytest.raises(sagas.PayloadError):
                await world.client.start(take, thing, id="a")
        with pytest.raises(SagaNotFound):
            await world.client.get("a").describe()

    world.run(scenario)


def test_what_is_not_a_saga_is_refused(world: World) -> None:
    async def plain() -> None: ...

    async def scenario() -> None:
        for thing in (plain, 7, None):
            with pytest.raises(sagas.SagaError, match="saga"):
                await world.client.start(thing, id="a")
        with pytest.raises(SagaNotFound):
            await world.client.get("a").describe()

    world.run(scenario)


def test_attributes_are_described(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(add, 1, id="a", attributes={"customer": "u1", "cents": 500, "vip": True})
        assert await handle.result() == 2
        assert (await handle.describe()).attributes == {"customer": "u1", "cents": 500, "vip": True}

    everywhere.run(scenario)


def test_start_is_durable_whether_or_not_a_host_is_up(timed: World) -> None:
    async def scenario() -> None:
        await timed.env.stop()
        handle = await timed.client.start(add, 1, id="a")
        await timed.env.start()
        assert await handle.result() == 2

    timed.run(scenario)


def test_a_crash_right_after_start_loses_nothing(durable: World) -> None:
    async def scenario() -> None:
        for n in range(5):
            await durable.client.start(add, n, id=f"a{n}")
        await durable.reopen(add)
        assert [await durable.client.get(f"a{n}").result() for n in range(5)] == [1, 2, 3, 4, 5]

    durable.run(scenario)


def test_large_arguments(everywhere: World) -> None:
    @saga
    async def size(text: str) -> int:
        return len(text)

    async def scenario() -> None:
        assert await everywhere.client.execute(size, "x" * 300_000, id="large") == 300_000

    everywhere.run(scenario)
