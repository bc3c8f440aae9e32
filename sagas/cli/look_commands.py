"""``sagas list``, ``describe``, ``history`` and ``trace``: what the store knows, without asking any host."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from sagas.cli.events import is_plumbing, json_of, values_of_letter, words_of
from sagas.cli.show import ago, at, cell, print_json, print_table, say, status_text, stdout, table
from sagas.cli.store import no_host, opened, taken
from sagas.cli.text import one_line, to_json
from sagas.cli.verdict import OK
from sagas.cli.waiting import reasons
from sagas.description import Description
from sagas.errors import InvalidArgument
from sagas.kernel.duration import from_ms
from sagas.kernel.events import Event, encode_histories
from sagas.letters import DeadLetter
from sagas.telemetry import spans_of_history

_SHOWN = 100


def list_(args: argparse.Namespace) -> int:
    """A table of instances, or one JSON object a line as they are found."""
    return asyncio.run(_list(args))


def describe(args: argparse.Namespace) -> int:
    """One instance in words."""
    return asyncio.run(_describe(args))


def history(args: argparse.Namespace) -> int:
    """A table of the events that say something, or all of them as JSON, or in a file to be replayed."""
    events = asyncio.run(_events(args))
    if args.download is not None:
        if events:
            _save(args.download, events)
    elif args.json:
        for position, event in enumerate(events):
            print_json(json_of(position, event))
    elif events:
        shown = table("#", "time", "event", "what", whole=("#", "time", "event"))
        for position, event in enumerate(events):
            if not is_plumbing(event):
                time = f"{from_ms(event.at_ms).astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]
                shown.add_row(str(position), time, type(event).__name__, Text(words_of(event)))
        print_table(shown)
    return OK


def _save(path: Path, events: list[Event]) -> None:
    try:
        path.write_bytes(encode_histories([events]))
    except OSError as error:
        raise InvalidArgument(f"{str(path)!r} cannot be written: {error.strerror or error}") from error
    say(f"sagas: {len(events)} events are in {path}; `sagas replay {path} --module MODULE` runs your code over them")


def letters(args: argparse.Namespace) -> int:
    """A table of the dead letters, or one JSON object each."""

    async def run() -> list[DeadLetter]:
        async with opened(args) as (client, _store):
            return await client.get(args.id).dead_letters()

    shown = table("#", "message", "signal", "args", "why", whole=("#",))
    for place, each in enumerate(asyncio.run(run())):
        row = values_of_letter(each)
        if args.json:
            print_json(row)
        else:
            shown.add_row(str(place), cell(each.message_id), cell(each.name), cell(row["args"]), cell(each.reason))
    if shown.row_count:
        print_table(shown)
    return OK


def trace(args: argparse.Namespace) -> int:
    """The run as a tree, or its spans as JSON."""
    from sagas.telemetry.tree import trace_tree

    events = asyncio.run(_events(args))
    spans = spans_of_history(events) if events else []
    if args.json:
        for span in spans:
            print_json(dataclasses.asdict(span))
    elif spans:
        stdout().print(trace_tree(spans))
    elif events:
        say(f"sagas: nothing of it has ended yet, so there is nothing to draw; try `sagas describe {args.id}`")
    return OK


async def _list(args: argparse.Namespace) -> int:
    limit = args.limit or (None if args.json else _SHOWN)
    rows: list[Description] = []
    more = False
    async with opened(args) as (client, store), aclosing(client.list(args.query)) as found:  # type: ignore[type-var]
        count = 0
        async for row in found:
            if more := limit is not None and count >= limit:
                break
            count += 1
            if args.json:
                print_json(_json_of(row))
            else:
                rows.append(row)
        missing = await no_host(store, args.namespace)
    if not args.json:
        _print_rows(rows)
        if more:
            say(f"sagas: there are more than these {limit}; --limit N shows more, a query fewer")
        elif not rows:
            say(f"sagas: there are none that a host has taken{f'; {missing}' if missing else ''}")
    return OK


def _print_rows(rows: list[Description]) -> None:
    if not rows:
        return
    shown = table("id", "type", "status", "started", "waits for", whole=("status", "started"))
    for row in sorted(rows, key=lambda row: row.started, reverse=True):
        status = status_text(row.status, parked=row.parked is not None, paused=row.paused)
        waits = row.parked or ", ".join(f"{wait.kind} {wait.what}".strip() for wait in row.waiting_for)
        shown.add_row(cell(row.id), cell(row.type), status, at(row.started), cell(waits))
    print_table(shown)


async def _describe(args: argparse.Namespace) -> int:
    async with opened(args) as (client, store):
        found = await taken(client.get(args.id).describe())
        missing = await no_host(store, args.namespace)
    if args.json:
        print_json({"id": args.id, "status": "running", "waiting_for": [_HOST]} if found is None else _json_of(found))
    elif found is None:
        print(f"{one_line(args.id)}  accepted, and no host has taken it yet")
        print(f"  {missing or 'a host is up: it should be taken in a moment'}")
    else:
        _print_description(found, missing)
    return OK


_HOST = {"kind": "host", "what": "no host has taken it yet"}


def _print_description(found: Description, missing_host: str) -> None:
    console, now = stdout(), datetime.now(UTC)
    status = status_text(found.status, parked=found.parked is not None, paused=found.paused)
    console.print(Text.assemble((one_line(found.id, 600), "bold"), "  ", one_line(found.type), "  ", status))
    facts = [
        ("run", found.run_id),
        ("attempt", f"{found.attempt}" if found.attempt > 1 else ""),
        ("started", f"{at(found.started)} ({ago(found.started, now)})"),
        ("closed", "" if found.closed is None else f"{at(found.closed)} ({ago(found.closed, now)})"),
        ("compensation", found.compensation.value),
        ("attributes", to_json(found.attributes) if found.attributes else ""),
        ("history", f"{found.history_length} events"),
        ("dead letters", f"{found.dead_letters}, see `sagas letters {found.id}`" if found.dead_letters else ""),
    ]
    for name, value in facts:
        if value:
            console.print(Text.assemble((f"  {name:<13}", "dim"), value), soft_wrap=True)
    why = reasons(found, missing_host, now)
    if why:
        console.print("why it is waiting:")
    for reason in why:
        console.print(Text.assemble("  • ", one_line(reason.why, 1000)), soft_wrap=True)
        if reason.next:
            console.print(Text.assemble(("    next: ", "bold"), reason.next), soft_wrap=True)


def _json_of(found: Description) -> dict[str, object]:
    return {each.name: getattr(found, each.name) for each in dataclasses.fields(found)}


async def _events(args: argparse.Namespace) -> list[Event]:
    async with opened(args) as (client, store):
        events = await taken(client.get(args.id, args.run).history())
        if events:
            return events
        missing = await no_host(store, args.namespace)
    say(f"sagas: {args.id!r} is accepted and has no history yet: {missing or 'a host should take it in a moment'}")
    return []
