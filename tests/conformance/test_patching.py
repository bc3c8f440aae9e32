"""``patched``: code that changed under runs that go on."""

from __future__ import annotations

from typing import Any

import sagas
from sagas import patched, saga
from tests.conformance.world import World, event_names


class Deployment:
    """One saga, as its author first wrote it, or changed; hosts that open later have what is deployed then."""

    def __init__(self) -> None:
        deployment = self
        self.changed = False
        self.saga: Any

        @saga
        class Changing:
            def __init__(self) -> None:
                self.told = 0
                self.went: list[str] = []

            async def run(self) -> list[str]:
                for turn in range(2):
                    if deployment.changed and patched("better"):
                        self.went.append(f"new {sagas.uuid4().version}")
                    else:
                        self.went.append("old")
                    await self.wait_for(turn + 1)
                return self.went

            async def wait_for(self, told: int) -> None:
                await sagas.wait_until(lambda: self.told >= told)

            @sagas.signal
            def go_on(self) -> None:
                self.told += 1

        self.saga = Changing


def test_runs_that_go_on_take_the_old_branch_and_new_ones_the_new(durable: World) -> None:
    code = Deployment()

    async def scenario() -> None:
        handle = await durable.client.start(code.saga, id="before")
        await durable.until_event(handle, "Activated")
        code.changed = True
        for _ in range(2):  # the second host rebuilds what the first one answered
            await durable.reopen(code.saga)
            await durable.again(handle).signal("go_on")
            await durable.until(lambda: handled(durable.again(handle)))
        before = durable.again(handle)
        after = await durable.client.start(code.saga, id="after")
        for _ in range(2):
            await after.signal("go_on")
        assert await before.result() == ["old", "old"]
        assert await after.result() == ["new 4", "new 4"]
        assert "Patched" not in await event_names(before)
        assert (await event_names(after)).count("Patched") == 1

    signals = 0

    async def handled(handle: Any) -> bool:
        nonlocal signals
        names = await event_names(handle)
        came = names.count("SignalReceived")
        if came == signals or names[-1] == "SignalReceived":
            return False
        signals = came
        return True

    durable.run(scenario)


def test_a_marked_run_goes_on_after_a_crash(durable: World) -> None:
    code = Deployment()
    code.changed = True

    async def scenario() -> None:
        handle = await durable.client.start(code.saga, id="m")
        await durable.until_event(handle, "Patched")
        for _ in range(2):
            await durable.reopen(code.saga)
            await durable.again(handle).signal("go_on")
        assert await durable.again(handle).result() == ["new 4", "new 4"]

    durable.run(scenario)
