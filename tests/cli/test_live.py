"""The lines that ``sagas dev`` prints: each start, end and standstill once, whichever way they become known."""

from __future__ import annotations

import asyncio
import io
import threading

from rich.console import Console

import sagas
from sagas.cli.live import Live
from sagas.testing import environment

DEADLINE_S = 60.0


class Screen(io.StringIO):
    """A terminal whose reader waits for lines."""

    async def saw(self, *parts: str) -> str:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for line in self.getvalue().splitlines():
                    if all(part in line for part in parts):
                        return line
                await asyncio.sleep(0.01)


mended = threading.Event()


@sagas.saga
async def buggy() -> str:
    if not mended.is_set():
        raise KeyError("a bug")
    await sagas.sleep(60)
    return "mended"


@sagas.saga
async def nap(seconds: float) -> str:
    await sagas.sleep(seconds)
    return "rested"


def test_each_change_is_a_line_and_each_line_comes_once() -> None:
    mended.clear()

    async def scenario() -> str:
        screen = Screen()
        console = Console(file=screen, width=200, markup=False, highlight=False, emoji=False)
        async with environment() as env:
            await env.client.start(nap, 3600, id="of-old")
            await env.settle()
            live = Live(env.store, console)
            await live.begin()
            watching = asyncio.create_task(live.run())
            try:
                assert "1" in await screen.saw("running from before")
                await env.client.start(nap, 30, id="nap-1")
                await screen.saw("started", "nap-1")
                stuck = await env.client.start(buggy, id="bug-1")
                await screen.saw("started", "bug-1")
                await screen.saw("parked", "bug-1", "KeyError: 'a bug'")
                mended.set()
                await stuck.resume()
                await screen.saw("resumed", "bug-1")
                await env.advance(30)
                await screen.saw("completed", "nap-1", "30s", "rested")
                await env.advance(30)
                await screen.saw("completed", "bug-1", "mended")
                await env.advance(hours=1)
                await screen.saw("completed", "of-old", "rested")
                ended = await env.client.start(nap, 3600, id="nap-2")
                await ended.terminate("enough")
                await env.settle()
                await screen.saw("terminated", "nap-2", "enough")
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        return screen.getvalue()

    said = asyncio.run(scenario())
    assert said.count("nap-1") == 2
    assert said.count("bug-1") == 4
    assert said.count("of-old") == 1
    assert said.count("nap-2") == 2


def test_one_that_cannot_be_read_is_shown_as_parked() -> None:
    async def scenario() -> None:
        screen = Screen()
        console = Console(file=screen, width=200, markup=False, highlight=False, emoji=False)
        async with environment() as env:
            await env.client.start(nap, 3600, id="damaged")
            await env.settle()
            env.store._shard("damaged").heads["damaged"] = b"\xc1"  # type: ignore[attr-defined]
            live = Live(env.store, console)
            await live.begin()
            assert "1 of them parked" in await screen.saw("running from before: 1")
            watching = asyncio.create_task(live.run())
            try:
                await env.client.start(nap, 3600, id="nap-1")
                await screen.saw("started", "nap-1")
            finally:
                watching.cancel()

    asyncio.run(scenario())
