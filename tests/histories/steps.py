"""Steps: in a row and at once, values of every kind, each way to fail."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import sagas
from sagas import ActivityFailed, ActivityTimeout, Handle, Permanent, Rejected, Retry, activity, saga
from sagas.testing import Environment
from tests.histories.programs import recorded


class Colour(Enum):
    RED = "red"


@dataclass
class Parcel:
    number: int
    colour: Colour
    due: datetime
    price: Decimal
    key: UUID
    parts: tuple[str, ...]
    tags: set[str]
    raw: bytes
    day: date
    length: timedelta


class Declined(Rejected):
    """Refused, nothing happened."""


class Gone(Permanent):
    """Will never work."""


@activity(retry=Retry(max_attempts=1))
async def echo(value: Any) -> Any:
    return value


@activity(retry=Retry(max_attempts=1))
async def carry(parcel: Parcel) -> Parcel:
    return parcel


@activity(retry=Retry(max_attempts=3, jitter=0), timeout=10)
async def fail(how: str) -> str:
    match how:
        case "declined":
            raise Declined("no", 5)
        case "gone":
            raise Gone("never")
        case "error":
            raise OSError("nobody answers")
        case "flaky" if sagas.step().attempt < 3:
            raise ValueError("not yet")
        case "hang":
            await asyncio.Event().wait()
    return how


@saga
async def in_a_row(parcel: Parcel) -> list[Any]:
    said = [await echo(number) for number in range(3)]
    carried = await carry(parcel)
    return [said, carried.price, str(sagas.uuid4()), sagas.random(), sagas.now()]


@recorded
async def steps_in_a_row(env: Environment) -> list[Handle[Any]]:
    when = datetime(2024, 2, 29, 12, tzinfo=UTC)
    parcel = Parcel(
        7, Colour.RED, when, Decimal("1.10"), UUID(int=7), ("a", "b"), {"x"}, b"\0", when.date(), timedelta(hours=1)
    )
    handle = await env.client.start(in_a_row, parcel, id="row", attributes={"plan": "pro"})
    await handle.result()
    return [handle]


@saga
async def at_once() -> list[Any]:
    gathered = await asyncio.gather(*(echo(number) for number in range(4)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(echo(f"task {number}")) for number in range(3)]
    early = [await each for each in asyncio.as_completed([echo("x"), echo("y")])]
    done, _ = await asyncio.wait([asyncio.create_task(echo("z")), asyncio.create_task(echo("w"))])
    slots, queue = asyncio.Semaphore(2), asyncio.Queue[int]()

    async def work(number: int) -> None:
        async with slots:
            await queue.put(await echo(number))

    await asyncio.gather(*(work(number) for number in range(4)))
    return [gathered, [each.result() for each in tasks], sorted(early), len(done), queue.qsize()]


@recorded
async def steps_at_once(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(at_once, id="at-once")
    await handle.result()
    return [handle]


@saga
async def failing(how: str) -> str:
    try:
        return await fail(how)
    except Declined as error:
        return f"declined {error.args}"
    except Gone as error:
        return f"gone {error.args}"
    except ActivityTimeout as error:
        return f"{error.kind} timeout"
    except ActivityFailed as error:
        return f"{error.cause_type} after {error.attempts}"


@recorded
async def steps_that_fail(env: Environment) -> list[Handle[Any]]:
    handles = [
        await env.client.start(failing, how, id=how) for how in ("declined", "gone", "error", "flaky", "hang", "fine")
    ]
    said = [await handle.result() for handle in handles]
    assert said[2:5] == ["OSError after 3", "flaky", "attempt timeout"], said
    return handles


@saga
async def giving_up() -> list[str]:
    said = []
    try:
        async with asyncio.timeout(5):
            await fail.options(timeout=3600)("hang")
    except TimeoutError:
        said.append("timeout")
    task = asyncio.create_task(fail.options(total_timeout=60, retry=Retry(initial=30, jitter=0))("error"))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    try:
        await fail.options(total_timeout=60, retry=Retry(initial=45, jitter=0))("error")
    except (ActivityTimeout, ActivityFailed) as error:
        said.append(type(error).__name__)
    return [*said, str(task.cancelled())]


@recorded
async def steps_given_up(env: Environment) -> list[Handle[Any]]:
    handle = await env.client.start(giving_up, id="giving-up")
    await handle.result()
    return [handle]


@saga
async def unhandled(how: str) -> str:
    return await fail(how)


@recorded
async def sagas_that_fail(env: Environment) -> list[Handle[Any]]:
    handles = [await env.client.start(unhandled, how, id=how) for how in ("declined", "error")]
    for handle in handles:
        try:
            await handle.result()
        except sagas.SagaFailed:
            continue
        raise AssertionError("it must fail")
    return handles
