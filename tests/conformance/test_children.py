"""``sagas.child``: begun once, told of once, whoever dies on the way; and what becomes of it when its parent ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import sagas
from sagas import (
    Handle,
    InvalidArgument,
    Rejected,
    SagaAlreadyStarted,
    SagaCancelled,
    SagaClosed,
    SagaFailed,
    SagaTerminated,
    activity,
    compensating,
    saga,
    signal,
)
from tests.conformance.world import World, event_names

UNDONE: list[str] = []


class Refused(Rejected): ...


@activity
async def book(what: str) -> str:
    return what


@book.compensation
async def unbook(_booked: str | None, what: str) -> None:
    UNDONE.append(what)


@saga
async def doubles(number: int) -> int:
    return 2 * number


@saga
class Waits:
    """Ends with what it was told; cancelled, it undoes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = ""

    async def run(self) -> str:
        async with compensating():
            await book(self.name)
            await sagas.wait_until(lambda: self.heard)
        return self.heard

    @signal
    def tell(self, word: str) -> None:
        self.heard = word


@saga
async def refuses() -> None:
    raise Refused("no")


@saga
async def adds(numbers: list[int]) -> int:
    return sum(await asyncio.gather(*(sagas.child(doubles, number) for number in numbers)))


@saga
async def nests(depth: int) -> int:
    return 1 + await sagas.child(nests, depth - 1) if depth else 0


@saga
async def tells(word: str) -> str:
    child = sagas.child(Waits, "told", id="waits")
    await child.signal(Waits.tell, word)
    heard = await child
    try:
        await child.signal("tell", "too late")
    except SagaClosed as error:
        return f"{heard}, then {error.status}, again {await child}"
    return "it took a signal after its end"


@saga
async def reports(kind: str) -> str:
    child: Any = sagas.child(refuses) if kind == "fails" else sagas.child(Waits, kind, id="waits")
    try:
        if kind == "cancels":
            await child.cancel("not needed")
        await child
    except SagaFailed as error:
        return f"{error.cause_type}: {error.message}, from {error.__cause__!r}"
    except (SagaCancelled, SagaTerminated, SagaAlreadyStarted) as error:
        return f"{type(error).__name__} {error.args[1:]}"
    return "it returned"


@saga
async def fails() -> None:
    await sagas.child(refuses)


@saga
async def leaves(policy: Any, awaits: bool) -> str:
    child = sagas.child(Waits, policy, id=f"waits-{policy}", on_parent_close=policy)
    if awaits:
        return await child
    await sagas.wait_until(lambda: child.number < 0)
    return "never"


@saga
async def starts_and_ends(policy: Any) -> str:
    return sagas.child(Waits, policy, id=f"waits-{policy}", on_parent_close=policy).id


@saga
async def races() -> list[str]:
    first, second = sagas.child(doubles, 4), sagas.child(Waits, "loser", id="loser")
    async with asyncio.TaskGroup() as group:
        ready = group.create_task(first)
        late = group.create_task(second)
        await asyncio.wait([ready, late], return_when=asyncio.FIRST_COMPLETED)
        late.cancel()
    try:
        return [str(ready.result()), await second]
    except SagaCancelled as error:
        return [str(ready.result()), error.reason]


async def ended(handle: Handle[Any]) -> str:
    try:
        return str(await handle.result())
    except sagas.SagaError as error:
        return type(error).__name__


def test_many_children_at_once(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        assert await client.execute(adds, list(range(30)), id="adds") == 870
        names = await event_names(client.get("adds"))
        assert names.count("ChildScheduled") == names.count("ChildStarted") == names.count("ChildCompleted") == 30

    everywhere.run(scenario)


def test_children_have_children(everywhere: World) -> None:
    async def scenario() -> None:
        assert await everywhere.client.execute(nests, 5) == 5

    everywhere.run(scenario)


def test_a_child_takes_signals_until_it_ends_and_its_result_stays(everywhere: World) -> None:
    async def scenario() -> None:
        assert await everywhere.client.execute(tells, "go") == "go, then completed, again go"

    everywhere.run(scenario)


def test_how_a_child_ended_is_raised_where_it_is_awaited(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        assert await client.execute(reports, "fails") == "Refused: no, from Refused('no')"
        UNDONE.clear()
        assert await client.execute(reports, "cancels") == "SagaCancelled ('not needed',)"
        parent = await client.start(reports, "ends", id="parent")
        await everywhere.until_event(parent, "ChildStarted")
        (wait,) = (await parent.describe()).waiting_for
        assert (wait.kind, wait.what) == ("child", "waits")
        await client.get("waits").terminate("enough")
        assert await parent.result() == "SagaTerminated ('enough',)"
        with pytest.raises(SagaFailed, match=r"SagaFailed: .*Refused: no"):
            await client.execute(fails)

    everywhere.run(scenario)


def test_an_id_that_is_taken_refuses_the_child_and_leaves_its_owner_alone(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        stranger = await client.start(Waits, "stranger", id="waits")
        for kind in ("cancels", "awaits"):
            assert await client.execute(reports, kind) == f"SagaAlreadyStarted ('{stranger.run_id}', 'running')"
        await stranger.signal(Waits.tell, "still here")
        assert await stranger.result() == "still here"

    everywhere.run(scenario)


@pytest.mark.parametrize("end", ["terminate", "cancel"])
@pytest.mark.parametrize("awaits", [True, False])
def test_what_becomes_of_a_child_when_its_parent_ends(everywhere: World, end: str, awaits: bool) -> None:
    async def scenario() -> None:
        client = everywhere.client
        UNDONE.clear()
        found: dict[str, str] = {}
        for policy in ("terminate", "cancel", "abandon"):
            parent = await client.start(leaves, policy, awaits, id=f"parent-{policy}")
            child = client.get(f"waits-{policy}")
            await everywhere.until_event(parent, "ChildStarted")
            await everywhere.until_waiting(child, "message")
            await (parent.terminate() if end == "terminate" else parent.cancel())
            assert await ended(parent) == ("SagaTerminated" if end == "terminate" else "SagaCancelled")
            if policy == "abandon":
                await child.signal(Waits.tell, "on my own")
            found[policy] = await ended(child)
        asked = end == "cancel" and awaits
        ends = {"cancel": "SagaCancelled", "abandon": "on my own"}
        assert found == {"terminate": "SagaCancelled" if asked else "SagaTerminated", **ends}
        undone = ["terminate", "cancel"] if asked else ["cancel"]
        assert undone == UNDONE

    everywhere.run(scenario)


def test_a_child_begun_in_the_last_breath_of_its_parent(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        found = {}
        for policy in ("terminate", "cancel", "abandon"):
            child = client.get(await client.execute(starts_and_ends, policy))

            async def begun(child: Handle[Any] = child) -> bool:
                try:
                    await child.describe()
                except sagas.SagaNotFound:
                    return False
                return True

            await everywhere.until(begun)
            if policy == "abandon":
                await child.signal(Waits.tell, "alive")
            found[policy] = await ended(child)
        assert found == {"terminate": "SagaTerminated", "cancel": "SagaCancelled", "abandon": "alive"}

    everywhere.run(scenario)


def test_a_task_that_waits_for_a_child_and_is_cancelled_asks_it_to_cancel(everywhere: World) -> None:
    async def scenario() -> None:
        UNDONE.clear()
        result = await everywhere.client.execute(races)
        assert result == ["8", "its parent does not wait for it any more"]
        assert UNDONE == ["loser"]

    everywhere.run(scenario)


def test_a_parent_and_its_child_outlive_their_hosts(durable: World) -> None:
    async def scenario() -> None:
        parent = await durable.client.start(reports, "survives", id="parent")
        await durable.until_event(parent, "ChildStarted")
        await durable.reopen(reports, Waits, refuses, book)
        await durable.client.get("waits").signal("tell", "still here")
        assert await durable.again(parent).result() == "it returned"

    durable.run(scenario)


def test_what_cannot_be_a_child_is_refused_and_takes_no_number(world: World) -> None:
    begin: Any = sagas.child

    @saga
    async def tries() -> list[str]:
        heard = []
        for attempt in (
            lambda: begin(doubles, 1, id="me"),
            lambda: begin(doubles, 1, id=""),
            lambda: begin(doubles, 1, on_parent_close="forget"),
            lambda: begin(print, 1),
            lambda: begin(doubles, 1, 2),
        ):
            try:
                attempt()
            except (InvalidArgument, sagas.ArgumentMismatch) as error:
                heard.append(type(error).__name__)
        return [*heard, str(begin(doubles, 1).number)]

    async def scenario() -> None:
        refused = ["InvalidArgument"] * 4 + ["ArgumentMismatch", "1"]
        assert await world.client.execute(tries, id="me") == refused

    world.run(scenario)
    with pytest.raises(sagas.NotInSaga):
        begin(doubles, 1)


# --- chains of runs


@saga
async def counts_down(left: int) -> str:
    if left:
        sagas.continue_as_new(left - 1)
    return f"run {sagas.info().run_id[-2:]}"


@saga
async def waits_for_a_chain() -> str:
    return await sagas.child(counts_down, 3)


@saga
async def moves_on(policy: Any, again: bool) -> str:
    if again:
        child = sagas.child(Waits, "left behind", id=f"waits-{policy}", on_parent_close=policy)
        await child.signal("nobody_hears")  # returns when the child is there
        sagas.continue_as_new(policy, False)
    await sagas.wait_until(lambda: False)
    return "never"


def test_a_child_that_is_a_chain_of_runs_answers_with_the_end_of_the_last(everywhere: World) -> None:
    async def scenario() -> None:
        assert await everywhere.client.execute(waits_for_a_chain) == "run ~3"

    everywhere.run(scenario)


def test_a_parent_that_continues_has_ended_for_its_children(everywhere: World) -> None:
    async def scenario() -> None:
        client = everywhere.client
        found = {}
        for policy in ("terminate", "cancel", "abandon"):
            parent = await client.start(moves_on, policy, True, id=f"parent-{policy}")
            await everywhere.until_waiting(parent, "message")
            child = client.get(f"waits-{policy}")
            if policy == "abandon":
                await child.signal(Waits.tell, "told to nobody")
            found[policy] = await ended(child)
            assert (await parent.describe()).status is sagas.Status.RUNNING
            assert "ChildCompleted" not in await event_names(parent)
            await parent.terminate()
        assert found == {"terminate": "SagaTerminated", "cancel": "SagaCancelled", "abandon": "told to nobody"}

    everywhere.run(scenario)
