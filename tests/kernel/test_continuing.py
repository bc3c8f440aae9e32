"""Continuing as new, in the kernel: which message is whose, and what a replay makes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import sagas
from sagas import activity, saga, signal
from sagas.kernel.chain import Chain, chain_of, first_run_id, goes_on_in, next_run_id
from sagas.kernel.events import RunCancelled, RunContinued, RunStarted, SignalReceived
from tests.kernel.driver import Run, kinds


@activity
async def one() -> None: ...


@saga
class Inbox:
    """Continues after a step, with what its handlers have taken in."""

    def __init__(self, got: list[int]) -> None:
        self.got = got

    async def run(self) -> None:
        await one()
        sagas.continue_as_new(self.got)

    @signal
    def put(self, n: int) -> None:
        self.got.append(n)

    @signal
    async def put_in_a_task(self, n: int) -> None:
        self.got.append(n)

    @signal
    async def put_slowly(self, n: int) -> None:
        await asyncio.sleep(1)
        self.got.append(n)


def handed_over(run: Run) -> tuple[list[int], list[int]]:
    """What went into the next run's arguments, and what its first messages will be."""
    assert isinstance(run.end, RunContinued)
    (got,), _named = run.type.arguments.decode(run.end.args)
    put = run.type.handlers["signal", "put"].signature
    moved = [put.decode(each.args)[0][0] for each in run.instance.moved or [] if isinstance(each, SignalReceived)]
    return got, moved


@pytest.mark.parametrize("order", range(3))
def test_a_message_is_handled_here_or_by_the_next_run_wherever_it_stands_in_the_batch(order: int) -> None:
    run = Run(Inbox, [])
    run.start()
    facts = [run.signal(Inbox.put, 1), run.signal(Inbox.put_in_a_task, 2)]
    facts.insert(order, run.done("one"))
    run.give(*facts)
    got, moved = handed_over(run)
    assert got + moved == [1, 2]
    assert 1 in got, "a plain handler runs when its message is applied"


def test_a_handler_that_has_begun_is_finished_and_later_messages_are_moved() -> None:
    run = Run(Inbox, [])
    run.start()
    run.give(run.signal(Inbox.put_slowly, 1))
    assert kinds(run.give(run.done("one"))) == []
    assert kinds(run.give(run.signal(Inbox.put, 2))) == []
    assert kinds(run.give(run.fired(), after_ms=1000)) == ["RunContinued"]
    assert handed_over(run) == ([1], [2])


def test_a_cancel_while_it_waits_ends_the_chain() -> None:
    run = Run(Inbox, [])
    run.start()
    run.give(run.signal(Inbox.put_slowly, 1))
    run.give(run.done("one"))
    run.give(run.cancel("enough"))
    assert isinstance(run.end, RunCancelled)


def test_a_cancel_that_comes_with_what_it_waited_for_wins() -> None:
    run = Run(Inbox, [])
    run.start()
    run.give(run.done("one"), run.cancel("enough"))
    assert isinstance(run.end, RunCancelled)


def test_the_ids_of_a_chain() -> None:
    ids = ["run"]
    for _ in range(11):
        ids.append(next_run_id(ids[-1]))
    assert (ids[1], ids[2], ids[11]) == ("run~1", "run~2", "run~11")
    assert {first_run_id(id) for id in ids} == {"run"}
    assert goes_on_in("run", "run")
    assert goes_on_in("run", "run~11")
    assert goes_on_in("run~2", "run~11")
    assert not goes_on_in("run~11", "run~2")
    assert not goes_on_in("run", "other~1")
    assert next_run_id("odd~one") == "odd~one~1", "a mark that is not ours is part of the id"
    assert not goes_on_in("odd", "odd~one")


def test_what_a_start_says_of_its_chain() -> None:
    assert chain_of(RunStarted("id", "run", "type", b"")) is None
    chain: Any = ("run", "run~1", 2)
    assert chain_of(RunStarted("id", "run~2", "type", b"", chain=chain)) == Chain("run", "run~1", 2, 0, "")
