"""``sagas signal``, ``query``, ``update``, ``cancel`` and others: a word to one instance, or to a callback."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sagas.cli.arguments import value_of
from sagas.cli.show import print_value, say
from sagas.cli.store import no_host, opened
from sagas.cli.verdict import OK
from sagas.client import Client
from sagas.handle import Handle


def signal(args: argparse.Namespace) -> int:
    """Send a signal."""
    values = tuple(map(value_of, args.args))
    return _send(args, f"signal {args.name!r}", lambda h: h.signal(args.name, *values, message_id=args.message_id))


def cancel(args: argparse.Namespace) -> int:
    """Ask it to cancel."""
    return _send(args, "the request to cancel", lambda handle: handle.cancel(args.reason))


def terminate(args: argparse.Namespace) -> int:
    """End it at once."""
    return _send(args, "the order to end", lambda handle: handle.terminate(args.reason))


def pause(args: argparse.Namespace) -> int:
    """Run no code of it."""
    return _send(args, "the order to pause", lambda handle: handle.pause(args.by))


def resume(args: argparse.Namespace) -> int:
    """Let it go on."""
    return _send(args, "the order to go on", lambda handle: handle.resume(args.by))


def redeliver(args: argparse.Namespace) -> int:
    """Have dead letters applied again."""
    letter = int(args.letter) if args.letter is not None and args.letter.isdecimal() else args.letter

    async def run() -> tuple[int, str]:
        async with opened(args) as (client, store):
            count = await client.get(args.id).redeliver(letter, by=args.by)
            return count, await no_host(store, args.namespace)

    count, missing = asyncio.run(run())
    say(f"sagas: {count} dead letters are to be applied again" + (f", but {missing}" if missing else ""))
    return OK


def query(args: argparse.Namespace) -> int:
    """Print the answer."""
    values = tuple(map(value_of, args.args))

    async def run() -> Any:
        async with opened(args) as (client, _store):
            return await client.get(args.id).query(args.name, *values)

    print_value(asyncio.run(run()), json=args.json)
    return OK


def update(args: argparse.Namespace) -> int:
    """Print what its handler returns."""
    values = tuple(map(value_of, args.args))

    async def run() -> Any:
        async with opened(args) as (client, _store):
            handle = client.get(args.id)
            return await handle.update(args.name, *values, message_id=args.message_id, timeout=args.timeout)

    print_value(asyncio.run(run()), json=args.json)
    return OK


def complete(args: argparse.Namespace) -> int:
    """Give a callback its value."""
    value = None if args.value is None else value_of(args.value)
    return _answer(args, lambda client: client.complete(args.token, value, message_id=args.message_id))


def fail(args: argparse.Namespace) -> int:
    """Say that a callback failed."""
    return _answer(args, lambda client: client.fail(args.token, args.error, message_id=args.message_id))


def _answer(args: argparse.Namespace, answer: Callable[[Client], Awaitable[None]]) -> int:
    async def run() -> str:
        async with opened(args) as (client, store):
            await answer(client)
            return await no_host(store, args.namespace)

    missing = asyncio.run(run())
    say("sagas: the answer is accepted" + (f", but {missing}" if missing else ""))
    return OK


def _send(args: argparse.Namespace, what: str, send: Callable[[Handle[Any]], Awaitable[None]]) -> int:
    async def run() -> str:
        async with opened(args) as (client, store):
            await send(client.get(args.id))
            return await no_host(store, args.namespace)

    missing = asyncio.run(run())
    say(f"sagas: {what} is accepted" + (f", but {missing}" if missing else ""))
    return OK
