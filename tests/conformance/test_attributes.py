"""Searchable attributes: set at the start or by the code, shown by ``describe``, found by ``list``."""

from __future__ import annotations

from typing import Any

import pytest

import sagas
from sagas import InvalidArgument, activity, query, saga, signal
from tests.conformance.world import World


@saga
class Customer:
    def __init__(self) -> None:
        self.told = 0

    async def run(self) -> dict[str, Any]:
        sagas.set_attributes(plan="basic", seats=1)
        await sagas.wait_until(lambda: self.told >= 1)
        sagas.set_attributes(plan="pro", seats=None, trial=True, rate=0.5)
        await sagas.wait_until(lambda: self.told >= 2)
        return sagas.info().attributes

    @signal
    def go_on(self) -> None:
        self.told += 1

    @query
    def attributes(self) -> dict[str, Any]:
        return sagas.info().attributes


async def listed(world: World, query: str) -> list[str]:
    return sorted([each.id async for each in world.client.list(query)])


def test_attributes_are_merged_shown_and_found(everywhere: World) -> None:
    async def scenario() -> None:
        handle = await everywhere.client.start(Customer, id="c", attributes={"region": "eu", "plan": "none"})
        other = await everywhere.client.start(Customer, id="other")
        await everywhere.until_waiting(handle, "message")
        await everywhere.until_waiting(other, "message")
        assert (await handle.describe()).attributes == {"region": "eu", "plan": "basic", "seats": 1}
        assert await listed(everywhere, "attributes.plan = 'basic'") == ["c", "other"]
        assert await listed(everywhere, "attributes.plan = 'basic' and attributes.region != 'eu'") == ["other"]
        await handle.signal(Customer.go_on)
        after = {"region": "eu", "plan": "pro", "trial": True, "rate": 0.5}

        async def changed() -> bool:
            return (await handle.describe()).attributes == after

        await everywhere.until(changed)
        assert await handle.query(Customer.attributes) == after
        assert await listed(everywhere, "type = 'Customer' and attributes.plan = 'pro'") == ["c"]
        assert await everywhere.client.count("attributes.trial = true") == 1
        await handle.signal(Customer.go_on)
        assert await handle.result() == after
        assert await listed(everywhere, "status = 'completed' and attributes.rate = 0.5") == ["c"]

    everywhere.run(scenario)


def test_attributes_outlive_a_crash(durable: World) -> None:
    async def scenario() -> None:
        handle = await durable.client.start(Customer, id="c")
        await durable.until_event(handle, "AttributesSet")
        await durable.reopen(Customer)
        handle = durable.again(handle)
        assert await handle.query(Customer.attributes) == {"plan": "basic", "seats": 1}
        await handle.signal(Customer.go_on)
        await handle.signal(Customer.go_on)
        assert await handle.result() == {"plan": "pro", "trial": True, "rate": 0.5}

    durable.run(scenario)


@pytest.mark.parametrize("value", [2**64, b"bytes", ["list"], {"a": 1}, 1j])
def test_what_no_head_can_hold_is_refused_and_changes_nothing(world: World, value: Any) -> None:
    @activity
    async def done() -> None: ...

    @saga
    async def refused() -> dict[str, Any]:
        sagas.set_attributes(plan="pro")
        with pytest.raises(InvalidArgument, match="'odd'"):
            sagas.set_attributes(plan="free", odd=value)
        await done()
        return sagas.info().attributes

    async def scenario() -> None:
        assert await world.client.execute(refused, id="r") == {"plan": "pro"}
        with pytest.raises(InvalidArgument, match="'odd'"):
            await world.client.start(refused, attributes={"odd": value})

    world.run(scenario)
