"""What ``benchmarks.steps`` runs: a saga of ten steps that do nothing, on workers or in the host's own process."""

from __future__ import annotations

from sagas import activity, saga

STEPS = 10


@activity
async def nothing(number: int) -> int:
    return number


@activity(local=True)
async def nothing_local(number: int) -> int:
    return number


@saga
async def on_workers() -> int:
    return sum([await nothing(number) for number in range(STEPS)])


@saga
async def in_host() -> int:
    return sum([await nothing_local(number) for number in range(STEPS)])
