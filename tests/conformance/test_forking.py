"""``fork`` and ``reset``: another run from the beginning of one, on the code there is now."""

from __future__ import annotations

from typing import Any

import pytest

import sagas
from sagas import (
    Handle,
    InvalidArgument,
    Retry,
    SagaAlreadyStarted,
    SagaFailed,
    SagaTerminated,
    Status,
    activity,
    compensating,
    saga,
    signal,
)
from sagas.kernel.events import Event, RunForked
from tests.conformance.world import Gate, World, event_names

CALLS: list[str] = []
KEYS: list[str] = []
BROKEN: set[str] = set()
GATES: dict[str, Gate] = {}
BUGS: list[str] = []
"""What the code of the day does wrong."""


@pytest.fixture(autouse=True)
def _anew() -> None:
    for each in (CALLS, KEYS, BROKEN, GATES, BUGS):
        each.clear()  # type: ignore[attr-defined]


@activity(retry=Retry(max_attempts=1))
async def do(what: str) -> str:
    CALLS.append(what)
    KEYS.append(sagas.step().idempotency_key)
    if what in GATES:
        await GATES[what]()
    if what in BROKEN:
        raise OSError(what)
    return f"<{what}>"


@do.compensation
async def undo(_result: str | None, what: str) -> None:
    CALLS.append(f"undo {what}")


@activity
async def other() -> None: ...


@saga
async def trip() -> list[str]:
    async with compensating():
        said = [await do("a"), str(sagas.random())]
        if "typo" in BUGS:
            raise NameError("typo")
        if "other path" in BUGS:
            await other()
        said += [await do("b"), str(sagas.random())]
    return said


@saga
class Listens:
    def __init__(self) -> None:
        self.heard: list[str] = []

    async def run(self) -> list[str]:
        await sagas.wait_until(lambda: "end" in self.heard)
        return self.heard

    @signal
    async def tell(self, word: str) -> None:
        self.heard.append(word if word == "end" else await do(word))


@saga
async def parent() -> str:
    return str(await sagas.child(Listens, id="child"))


def after(history: list[Event], name: str, nth: int = 0) -> int:
    """Where the transition ends in which the event of this name is."""
    places = [at for at, event in enumerate(history) if type(event).__name__ == name]
    at = places[nth]
    while at + 1 < len(history) and type(history[at]).__name__ != "Activated":
        at += 1
    while at + 1 < len(history) and type(history[at + 1]).__name__ in _DECISIONS:
        at += 1
    return at


_DECISIONS = ("StepScheduled", "TimerSet", "RunCompleted", "CompensationStarted", "CompensationScheduled")


async def ended(handle: Handle[Any]) -> str:
    try:
        return str(await handle.result())
    except sagas.SagaError as error:
        return type(error).__name__


def test_a_fork_goes_on_from_there_with_the_same_dice_and_keys_of_its_own(everywhere: World) -> None:
    async def scenario() -> None:
        first = await everywhere.client.start(trip, id="trip")
        result = await first.result()
        history = await first.history()
        fork = await first.fork(event=after(history, "StepCompleted"), id="again")
        assert await fork.result() == result
        assert CALLS == ["a", "b", "b"]
        assert len(set(KEYS)) == 3
        (mark,) = [event for event in await fork.history() if isinstance(event, RunForked)]
        assert (mark.origin, mark.origin_run) == ("trip", first.run_id)
        assert (await fork.history())[1 : mark.event + 1] == history[1 : mark.event + 1]
        assert (fork.id, (await fork.describe()).status) == ("again", Status.COMPLETED)
        assert await first.history() == history
        once_more = await fork.fork(event=mark.event, id="once-more")  # a fork of a fork
        assert await once_more.result() == result
        with pytest.raises(SagaAlreadyStarted):
            await everywhere.client.get("again").fork(event=mark.event, id=(await _running(everywhere)).id)

    everywhere.run(scenario)


async def _running(world: World) -> Handle[Any]:
    return await world.client.start(Listens, id="running")


def test_a_run_that_failed_is_reset_to_before_its_failure(everywhere: World) -> None:
    async def scenario() -> None:
        BROKEN.add("b")
        first = await everywhere.client.start(trip, id="trip")
        assert await ended(first) == "SagaFailed"
        assert CALLS == ["a", "b", "undo b", "undo a"]
        BROKEN.clear()
        again = await first.reset(event=after(await first.history(), "StepCompleted"))
        assert (await again.result())[::2] == ["<a>", "<b>"]
        assert CALLS[4:] == ["b"]
        assert again.run_id != first.run_id
        with pytest.raises(SagaFailed):
            await first.result()

    everywhere.run(scenario)


def test_a_reset_takes_the_place_of_the_run_that_goes_on_and_makes_its_open_steps_again(everywhere: World) -> None:
    async def scenario() -> None:
        gate = GATES["b"] = Gate()
        first = await everywhere.client.start(trip, id="trip")
        await everywhere.until(lambda: gate.came)
        again = await first.reset(event=len(await first.history()) - 1)
        await everywhere.until(lambda: gate.came == 2)
        gate.open()
        assert (await again.result())[::2] == ["<a>", "<b>"]
        with pytest.raises(SagaTerminated, match="reset"):
            await first.result()
        assert CALLS == ["a", "b", "b"]
        assert len(set(KEYS)) == 3

    everywhere.run(scenario)


def test_a_fork_outlives_its_host(durable: World) -> None:
    async def scenario() -> None:
        first = await durable.client.start(Listens, id="first")
        await first.signal(Listens.tell, "a")
        await durable.until_event(first, "StepCompleted")
        fork = await first.fork(event=len(await first.history()) - 1, id="fork")
        await durable.until_event(fork, "RunForked")
        await durable.reopen(Listens, do)
        for each, word in ((first, "b"), (fork, "c")):
            await durable.again(each).signal("tell", word)
            await durable.again(each).signal("tell", "end")
        ends = [await durable.again(each).result() for each in (first, fork)]
        assert [end[0] for end in ends] == ["<a>", "<a>"]
        assert CALLS[0] == "a"
        assert sorted(CALLS[1:]) == ["b", "c"]

    durable.run(scenario)


def test_a_parked_run_is_forked_on_code_that_works(everywhere: World) -> None:
    async def scenario() -> None:
        BUGS.append("typo")
        first = await everywhere.client.start(trip, id="trip")
        await everywhere.until_parked(first)
        BUGS.clear()
        fork = await first.fork(event=len(await first.history()) - 1)
        assert (await fork.result())[::2] == ["<a>", "<b>"]
        assert (await first.describe()).parked is not None

    everywhere.run(scenario)


def test_code_that_does_not_fit_the_history_parks_the_fork(everywhere: World) -> None:
    async def scenario() -> None:
        first = await everywhere.client.start(trip, id="trip")
        await first.result()
        history = await first.history()
        BUGS.append("other path")
        fork = await first.fork(event=after(history, "StepCompleted"), id="fork")
        assert "NondeterminismError" in await everywhere.until_parked(fork)
        assert "RunForked" in await event_names(fork)
        BUGS.clear()
        await fork.resume()
        assert (await fork.result())[::2] == ["<a>", "<b>"]

    everywhere.run(scenario)


def test_a_fork_keeps_the_due_times_of_its_timers(timed: World) -> None:
    @saga
    async def sleeps() -> None:
        await sagas.sleep(1000)

    async def scenario() -> None:
        first = await timed.client.start(sleeps, id="first")
        await timed.env.advance(400)
        fork = await first.fork(event=len(await first.history()) - 1, id="fork")
        await timed.env.advance(599)
        assert (await fork.describe()).status is Status.RUNNING
        await timed.env.advance(1)
        assert [(await each.describe()).status for each in (first, fork)] == [Status.COMPLETED] * 2

    timed.run(scenario)


def test_a_child_that_is_reset_reports_the_end_of_the_new_run(everywhere: World) -> None:
    async def scenario() -> None:
        elder = await everywhere.client.start(parent, id="parent")
        await everywhere.until_event(elder, "ChildStarted")
        child = everywhere.client.get("child")
        await child.signal("tell", "a")
        await everywhere.until_event(child, "StepCompleted")
        again = await child.reset(event=len(await child.history()) - 1)
        await everywhere.until_event(again, "RunForked")
        assert (await elder.describe()).status is Status.RUNNING
        await again.signal("tell", "end")
        assert await elder.result() == "['<a>', 'end']"

    everywhere.run(scenario)


def test_what_cannot_be_taken_over_is_refused_and_starts_nothing(world: World) -> None:
    async def scenario() -> None:
        elder = await world.client.start(parent, id="parent")
        await world.until_event(elder, "ChildStarted")
        first = await world.client.start(trip, id="trip")
        await first.result()
        last = len(await first.history()) - 1
        begun: Any = first.fork
        for handle, event, says in (
            (first, last, "the run has ended there"),
            (first, last + 1, f"has the events 0 to {last}"),
            (first, -1, "has the events"),
            (first, "3", "has the events"),
            (first, 0, "before the end of the first transition"),
            (elder, len(await elder.history()) - 1, "its child 'child' has not ended"),
        ):
            begun = handle.fork
            with pytest.raises(InvalidArgument, match=says):
                await begun(event=event, id="fork")
        with pytest.raises(InvalidArgument, match="control character"):
            await first.fork(event=2, id="a\nb")
        with pytest.raises(sagas.SagaNotFound):
            await world.client.get("nobody").fork(event=0)
        with pytest.raises(sagas.SagaNotFound):
            await world.client.get("fork").describe()

    world.run(scenario)


@activity
async def doubled(data: bytes) -> bytes:
    return data + data


@saga
async def carries(data: bytes) -> int:
    twice = await doubled(data)
    await do("a")
    return len(await doubled(twice))


def test_payloads_that_lie_beside_their_history_are_taken_over(everywhere: World) -> None:
    async def scenario() -> None:
        first = await everywhere.client.start(carries, b"x" * 300_000, id="first")
        assert await first.result() == 1_200_000
        history = await first.history()
        fork = await first.fork(event=after(history, "StepCompleted", 1), id="fork")
        assert await fork.result() == 1_200_000
        assert CALLS == ["a"]
        assert [type(event) for event in (await fork.history())[:5]] == [type(event) for event in history[:5]]
        again = await fork.fork(event=after(history, "StepCompleted"), id="again")
        assert await again.result() == 1_200_000

    everywhere.run(scenario)
