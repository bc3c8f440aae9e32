"""``python -m tests.histories.record``: record the scenarios that have no recording of this version yet."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path

from sagas.kernel.events import Event, encode_histories
from sagas.testing import environment
from tests.histories.programs import SCENARIOS, Scenario, themes

HERE = Path(__file__).parent


def recordings() -> list[Path]:
    """Every file there is, of every version."""
    return sorted(HERE.glob("*/*.history"))


async def histories_of(scenario: Scenario) -> list[Sequence[Event]]:
    """Play it, in virtual time."""
    async with environment() as env:
        handles = await scenario(env)
        await env.settle()
        return [await handle.history() for handle in handles]


def main() -> None:
    themes()
    folder = HERE / importlib.metadata.version("ray-sagas")
    folder.mkdir(exist_ok=True)
    for name, scenario in SCENARIOS.items():
        path = folder / f"{name}.history"
        if not path.exists():
            path.write_bytes(encode_histories(asyncio.run(histories_of(scenario))))
            sys.stdout.write(f"recorded {path.relative_to(HERE)}\n")


if __name__ == "__main__":
    main()
