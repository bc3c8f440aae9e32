"""Sagas whose steps ask for something: resources of Ray, or workers of a queue of their own."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from sagas import ActivityFailed, Retry, activity, query, saga, signal, wait_until


def _note(diary: str, word: str) -> None:
    with Path(diary).open("a", encoding="utf-8") as lines:
        lines.write(f"{word} {os.getpid()}\n")


async def _rendered(diary: str, name: str) -> dict[str, float]:
    """Notes its process, and goes on when the film's name is written over its door."""
    import ray

    _note(diary, name)
    while not Path(f"{diary}-{name}").exists():
        await asyncio.sleep(0.05)
    return dict(ray.get_runtime_context().get_assigned_resources())


@activity(ray={"num_gpus": 1, "num_cpus": 0.5})
async def render(diary: str, name: str) -> dict[str, float]:
    return await _rendered(diary, name)


@activity(ray={"num_gpus": 1, "num_cpus": 0.5}, retry=Retry(max_attempts=1))
async def render_once(diary: str, name: str) -> dict[str, float]:
    return await _rendered(diary, name)


@activity(ray={"resources": {"imax": 3}, "num_cpus": 0})
def show_large(diary: str) -> None:
    _note(diary, "large")


@activity(queue="film")
def develop() -> int:
    return os.getpid()


@activity(queue="mail")
def post() -> int:
    return os.getpid()


@saga
async def film(diary: str, name: str) -> dict[str, float]:
    return await render(diary, name)


@saga
async def unique_film(diary: str, name: str) -> str:
    try:
        await render_once(diary, name)
    except ActivityFailed as error:
        return error.outcome.value
    return "done"


@saga
async def premiere(diary: str) -> None:
    await show_large(diary)


@saga
async def prints() -> int:
    return await develop()


@saga
async def invitation() -> int:
    return await post()


@saga(placement="dedicated", ray={"resources": {"imax": 0.5}})
@dataclass
class Cinema:
    """Runs in a process of its own, which it tells of."""

    diary: str
    shown: list[str] = field(default_factory=list)

    async def run(self) -> list[str]:
        await wait_until(lambda: "end" in self.shown)
        return self.shown

    @signal
    async def show(self, name: str) -> None:
        await project(self.diary, name)
        self.shown.append(name)

    @query
    def process(self) -> int:
        return os.getpid()

    @query
    def so_far(self) -> list[str]:
        return self.shown


@activity
def project(diary: str, name: str) -> None:
    _note(diary, name)
