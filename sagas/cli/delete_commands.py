"""``sagas delete`` and ``erase``: ended instances are removed for good."""

from __future__ import annotations

import argparse
import asyncio

from sagas.cli.show import say
from sagas.cli.store import opened
from sagas.cli.verdict import FAILED, OK
from sagas.deleting import Erasure


def delete(args: argparse.Namespace) -> int:
    """Remove one."""

    async def run() -> None:
        async with opened(args) as (client, _store):
            await client.get(args.id).delete()

    asyncio.run(run())
    say(f"sagas: {args.id} is deleted")
    return OK


def erase(args: argparse.Namespace) -> int:
    """Remove what a query finds."""

    async def run() -> Erasure:
        async with opened(args) as (client, _store):
            return await client.erase(args.query)

    done = asyncio.run(run())
    say(f"sagas: {len(done.deleted)} deleted")
    for id in done.running:
        say(f"sagas: {id} has not ended, and stays")
    return FAILED if done.running else OK
