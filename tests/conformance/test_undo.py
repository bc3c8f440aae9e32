"""What the ``undo`` of ``async with compensating() as undo`` is asked for: undos by hand, pivot, savepoints, keep."""

from __future__ import annotations

import asyncio

import pytest

import sagas
from sagas import Handle, compensating, saga
from tests.conformance.shop import Broken, Shop
from tests.conformance.world import World


async def fails(handle: Handle[object]) -> None:
    with pytest.raises(sagas.SagaFailed):
        await handle.result()


def test_an_undo_by_hand_runs_in_its_place_among_the_others(everywhere: World) -> None:
    shop = Shop()

    @saga
    async def flow() -> None:
        async with compensating() as undo:
            await shop.act("a")
            undo.add(shop.plain, "by hand")
            await shop.act("b")
            raise RuntimeError("no")

    async def scenario() -> None:
        await fails(await everywhere.client.start(flow, id="f"))
        assert shop.log == ["do a", "do b", "undo b <b>", "do by hand", "undo a <a>"]

    everywhere.run(scenario)


def test_an_undo_by_hand_of_a_block_that_ends_well_never_runs(timed: World) -> None:
    shop = Shop()

    @saga
    async def flow() -> str:
        async with compensating() as undo:
            undo.add(shop.plain, "by hand")
        return "well"

    async def scenario() -> None:
        assert await timed.client.execute(flow, id="f") == "well"
        assert shop.log == []

    timed.run(scenario)


def test_nothing_before_the_pivot_is_undone(everywhere: World) -> None:
    shop = Shop()

    @saga
    async def flow() -> None:
        async with compensating() as undo:
            await shop.act("a")
            undo.pivot()
            await shop.plain("b")
            raise RuntimeError("no")

    async def scenario() -> None:
        handle = await everywhere.client.start(flow, id="f")
        await fails(handle)
        assert shop.log == ["do a", "do b"]
        assert str((await handle.describe()).compensation) == "none"

    everywhere.run(scenario)


def test_a_step_with_an_undo_after_the_pivot_parks_before_it_is_made(timed: World) -> None:
    shop = Shop()

    @saga
    async def flow() -> None:
        async with compensating() as undo:
            undo.pivot()
            await shop.act("a")

    async def scenario() -> None:
        handle = await timed.client.start(flow, id="f")
        assert "pivot" in await timed.until_parked(handle)
        assert shop.log == []

    timed.run(scenario)


def test_back_to_a_savepoint_undoes_down_to_it_and_the_block_goes_on_another_way(everywhere: World) -> None:
    shop = Shop()

    @saga
    async def flow() -> str:
        async with compensating() as undo:
            await shop.act("a")
            here = undo.savepoint()
            await shop.act("b")
            await shop.act("c")
            await undo.back_to(here)
            await shop.act("d")
            await asyncio.sleep(0)
        return "another way"

    async def scenario() -> None:
        assert await everywhere.client.execute(flow, id="f") == "another way"
        assert shop.log == ["do a", "do b", "do c", "undo c <c>", "undo b <b>", "do d"]

    everywhere.run(scenario)


def test_what_was_undone_back_to_a_savepoint_is_not_undone_again(timed: World) -> None:
    shop = Shop()

    @saga
    async def flow() -> None:
        async with compensating() as undo:
            await shop.act("a")
            here = undo.savepoint()
            await shop.act("b")
            await undo.back_to(here)
            raise RuntimeError("no")

    async def scenario() -> None:
        await fails(await timed.client.start(flow, id="f"))
        assert shop.log == ["do a", "do b", "undo b <b>", "undo a <a>"]

    timed.run(scenario)


@pytest.mark.parametrize("kept", [True, False])
def test_a_caught_step_of_unknown_outcome_is_undone_unless_it_is_kept(everywhere: World, kept: bool) -> None:
    shop = Shop()
    shop.fail("a", Broken("it may have happened"))

    @saga
    async def flow() -> str:
        async with compensating() as undo:
            step = shop.act("a")
            try:
                await step
            except Broken:
                if kept:
                    undo.keep(step)
        return "well"

    async def scenario() -> None:
        assert await everywhere.client.execute(flow, id="f") == "well"
        assert shop.log == (["do a"] if kept else ["do a", "undo a None"])

    everywhere.run(scenario)
