"""Shards that change hands while work is under way: no step is made twice for that alone."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

import sagas
from sagas import Retry
from sagas.engine.reports_by_mail import mail_reports
from sagas.engine.steps import StepReport
from sagas.store.keys import shard_of
from tests.engine.rig import HeldExecutor, Rig, done, play, until

MADE: Counter[str] = Counter()


@sagas.activity
async def slow(name: str) -> str:
    MADE[name] += 1
    await asyncio.sleep(60)
    return name


@sagas.activity(retry=Retry(max_attempts=1))
async def once() -> None: ...


@sagas.saga
async def flow(name: str) -> str:
    return await slow(name)


@sagas.saga
async def careful() -> None:
    await once()


def test_a_shard_with_a_step_in_its_hosts_own_process_stays_until_that_has_ended() -> None:
    MADE.clear()
    names = [f"flow-{number}" for number in range(40)]

    async def scenario(rig: Rig) -> None:
        first = await rig.host()
        handles = [await rig.client.start(flow, name, id=name) for name in names]
        await until(lambda: MADE.total() == len(names))
        second = await rig.host()
        await until(lambda: second.shards)  # those without a step come at once
        assert {shard_of(name) for name in names} <= set(first.shards)
        assert [await handle.result() for handle in handles] == names
        await until(lambda: len(first.shards) == len(second.shards) == 32)
        assert set(MADE.values()) == {1}

    play(scenario, slow, flow)


def test_a_new_owner_takes_over_what_still_runs_and_never_makes_it_again() -> None:
    async def scenario(rig: Rig) -> None:
        first, second = HeldExecutor(), HeldExecutor()
        host = await rig.host(held=first)
        handle = await rig.client.start(careful, id="c")
        await until(lambda: first.tasks)
        [task] = first.tasks
        assert task.once
        await rig.kill(host)

        second.known = {task.key}
        successor = await rig.host(held=second)
        await until(lambda: successor.awaits(task))
        assert second.tasks == []
        successor.deliver([done(task)])
        await handle.result()

    play(scenario, once, careful)


def test_what_nobody_knows_and_may_not_run_twice_has_an_unknown_outcome() -> None:
    async def scenario(rig: Rig) -> None:
        first, second = HeldExecutor(), HeldExecutor()
        host = await rig.host(held=first)
        handle = await rig.client.start(careful, id="c")
        await until(lambda: first.tasks)
        await rig.kill(host)
        await rig.host(held=second)
        with pytest.raises(sagas.SagaFailed, match="gone"):
            await handle.result()
        assert second.tasks == []

    play(scenario, once, careful)


def test_a_report_whose_host_is_gone_comes_by_mail() -> None:
    async def scenario(rig: Rig) -> None:
        first, second = HeldExecutor(), HeldExecutor()
        host = await rig.host(held=first)
        handle = await rig.client.start(careful, id="c")
        await until(lambda: first.tasks)
        await rig.kill(host)
        await mail_reports(rig.store, [done(first.tasks[0])] * 2)  # a repeat changes nothing
        await rig.host(held=second)
        await handle.result()
        assert second.tasks == []
        await until(lambda: not rig.shard("c").mailbox)

    play(scenario, once, careful)


def test_mail_of_a_report_for_nobody_is_dropped() -> None:
    async def scenario(rig: Rig) -> None:
        await mail_reports(rig.store, [StepReport("nobody", "run", 1, 1, b"\xc0", None, 0, 0)])
        await rig.host()
        handle = await rig.client.start(careful, id="c")
        await handle.result()

    play(scenario, once, careful)
