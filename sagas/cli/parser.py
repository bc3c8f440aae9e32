"""The command line: every command, its options and its help. Standard library only, so that ``--help`` is quick."""

from __future__ import annotations

import argparse
import importlib.metadata
from pathlib import Path
from typing import Any, Final

from sagas.cli.syntax import (
    CommandParser,
    Overview,
    add_data,
    add_id,
    add_json,
    add_namespace,
    add_run,
    add_store,
    command,
    count,
    port,
)

COMMANDS: Final = {
    "dev": ("sagas.cli.cluster_commands", "dev"),
    "up": ("sagas.cli.cluster_commands", "up"),
    "down": ("sagas.cli.cluster_commands", "down"),
    "http": ("sagas.cli.http_command", "http"),
    "start": ("sagas.cli.start_commands", "start"),
    "execute": ("sagas.cli.start_commands", "execute"),
    "result": ("sagas.cli.start_commands", "result"),
    "signal": ("sagas.cli.message_commands", "signal"),
    "query": ("sagas.cli.message_commands", "query"),
    "update": ("sagas.cli.message_commands", "update"),
    "complete": ("sagas.cli.message_commands", "complete"),
    "fail": ("sagas.cli.message_commands", "fail"),
    "letters": ("sagas.cli.look_commands", "letters"),
    "redeliver": ("sagas.cli.message_commands", "redeliver"),
    "cancel": ("sagas.cli.message_commands", "cancel"),
    "terminate": ("sagas.cli.message_commands", "terminate"),
    "fork": ("sagas.cli.fork_commands", "fork"),
    "reset": ("sagas.cli.fork_commands", "reset"),
    "pause": ("sagas.cli.message_commands", "pause"),
    "resume": ("sagas.cli.message_commands", "resume"),
    "delete": ("sagas.cli.delete_commands", "delete"),
    "erase": ("sagas.cli.delete_commands", "erase"),
    "list": ("sagas.cli.look_commands", "list_"),
    "describe": ("sagas.cli.look_commands", "describe"),
    "history": ("sagas.cli.look_commands", "history"),
    "trace": ("sagas.cli.look_commands", "trace"),
    "replay": ("sagas.cli.replay_command", "replay"),
    "doctor": ("sagas.cli.doctor", "doctor"),
}
"""Where each command lives: the module, imported when it is called, and the function."""

_ABOUT = """\
Durable sagas: flows that sleep for months, survive any crash, and undo what they did when they fail.

Begin with two terminals, both in the folder of your code:
  sagas dev shop                                 # runs what shop.py declares; needs no Redis and no Ray set up
  sagas execute shop:book_trip '{"city": "Rome"}'
"""
_ENVIRONMENT = (
    "environment: SAGAS_URL is the Redis; SAGAS_MODULES (shop.sagas,shop.keys) is imported first, which shows payloads "
    "that a codec has sealed"
)
_EXITS = (
    "exit codes: 0 done, 1 the saga failed or was stopped, 2 wrong command line, 3 no usable Redis, 70 a bug of ours"
)
_ARGUMENTS = (
    'ARG is JSON where it can be read as JSON (500, true, null, \'{"city": "Rome"}\'), else plain text. Put -- before '
    "one that begins with a dash."
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of everything; ``args.command`` is None when no command was given."""
    parser = argparse.ArgumentParser(
        prog="sagas",
        description=_ABOUT,
        epilog=f"`sagas COMMAND --help` tells more about one, with examples.\n{_ENVIRONMENT}\n{_EXITS}",
        formatter_class=Overview,
        allow_abbrev=False,
    )
    parser.set_defaults(debug=False)
    parser.add_argument("--version", action="version", version=f"sagas {_version()}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=CommandParser, prog="sagas"
    )
    _add_cluster_commands(commands)
    _add_start_commands(commands)
    _add_message_commands(commands)
    _add_delete_commands(commands)
    _add_fork_commands(commands)
    _add_look_commands(commands)
    return parser


# --- run


def _add_cluster_commands(commands: Any) -> None:
    dev = command(
        commands,
        "dev",
        "run everything here: a Redis of its own, hosts and workers on a local Ray, the HTTP API",
        "Runs until Ctrl-C, and shows what the sagas do. The data stays in the data folder, so that the next "
        "`sagas dev` goes on where this one stopped.",
        [
            "sagas dev shop",
            "sagas dev shop.orders shop.billing --workers 8",
            "sagas dev shop --url redis://HOST:6379/0",
        ],
    )
    dev.add_argument("--url", metavar="URL", help="a Redis that runs already (else SAGAS_URL, else one is started)")
    add_data(dev, "where the Redis that is started keeps its data")
    up = command(
        commands,
        "up",
        "run hosts and workers on the Ray at RAY_ADDRESS (else on a local one)",
        "Like `sagas dev` with a Redis that runs already. Runs until Ctrl-C, then takes the hosts and workers down.",
        ["RAY_ADDRESS=HOST:6379 sagas up shop --url redis://HOST:6379/0 --hosts 4 --workers 16"],
    )
    add_store(up)
    for each in (dev, up):
        each.add_argument("modules", metavar="MODULE", nargs="+", help="a module of yours: shop, or shop.sagas")
        each.add_argument("--hosts", type=count, default=2, metavar="N", help="processes that run sagas (2)")
        each.add_argument("--workers", type=count, default=4, metavar="N", help="processes that run activities (4)")
    add_namespace(dev)
    dev.add_argument(
        "--http-port",
        type=port,
        metavar="PORT",
        help="where the HTTP API listens on 127.0.0.1 (8233, or a free one when that is taken)",
    )
    down = command(
        commands,
        "down",
        "stop what was left running",
        "Ends the hosts and workers of a namespace on the Ray at RAY_ADDRESS; with --data, the Redis that runs on that "
        "data folder. Nothing is lost: sagas go on at the next start.",
        ["RAY_ADDRESS=HOST:6379 sagas down", "sagas down --data .sagas"],
    )
    down.add_argument("--data", type=Path, default=None, metavar="FOLDER", help="stop the Redis on this data folder")
    add_namespace(down)
    _add_http_command(commands)


def _add_http_command(commands: Any) -> None:
    http = command(
        commands,
        "http",
        "serve the HTTP API: start, signal, ask and watch sagas with JSON",
        "Needs the Redis alone, and no host. Runs until Ctrl-C. On an address that other machines can reach it needs a "
        "token: in a file (--token-file) or in SAGAS_HTTP_TOKEN, never on the command line.",
        [
            "sagas http",
            "SAGAS_HTTP_TOKEN=$(openssl rand -hex 32) sagas http --host 0.0.0.0 --url redis://HOST:6379/0",
            """curl http://127.0.0.1:8233/v1/sagas --json '{"type": "book_trip", "args": [{"city": "Rome"}]}'""",
        ],
    )
    http.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)")
    http.add_argument("--port", type=port, default=8233, metavar="PORT", help="the port; 0 takes a free one (8233)")
    http.add_argument("--token-file", type=Path, metavar="FILE", help="a file with the token that clients must send")
    add_store(http)


# --- start and wait


def _add_start_commands(commands: Any) -> None:
    start = command(
        commands,
        "start",
        "start a saga; returns at once",
        f"Returns when the start is durable, whether or not a host is up; prints the id. {_ARGUMENTS}",
        [
            'sagas start shop:book_trip \'{"city": "Rome"}\'',
            "sagas start shop:Subscription u1 --id sub-1 --attributes plan=pro --on-conflict use_existing",
            "sagas start Subscription u1          # by its bare name: arguments cannot be checked",
        ],
    )
    execute = command(
        commands,
        "execute",
        "start a saga, wait for its end, print its result",
        f"Ctrl-C stops the waiting, not the saga. {_ARGUMENTS}",
        ['sagas execute shop:book_trip \'{"city": "Rome"}\' --timeout 60'],
    )
    for each in (start, execute):
        each.add_argument("type", metavar="TYPE", help="module:Name, or the bare name a running host knows")
        each.add_argument("args", metavar="ARG", nargs="*", default=[], help="the saga's arguments")
        each.add_argument("--id", metavar="ID", help="its id; a random one if left out")
        each.add_argument(
            "--attributes", metavar="K=V", action="append", default=[], help="a searchable attribute; may be repeated"
        )
        each.add_argument("--delay", type=float, default=0, metavar="SECONDS", help="begin only after this time")
        each.add_argument(
            "--on-conflict",
            choices=("fail", "use_existing", "terminate_existing"),
            default="fail",
            help="when a run with this id goes on",
        )
        each.add_argument(
            "--on-reuse",
            choices=("allow", "allow_failed", "reject"),
            default="allow",
            help="when a run with this id has ended",
        )
    result = command(
        commands,
        "result",
        "wait for the end of a saga, print its result",
        "Exits with 1 when the saga failed, was cancelled, terminated or timed out, is parked, or did not end in time.",
        ["sagas result trip-1 --timeout 60", "sagas result trip-1 --json | jq .price"],
    )
    add_id(result)
    add_run(result)
    for each in (execute, result):
        each.add_argument("--timeout", type=float, metavar="SECONDS", help="stop waiting after this time")
    for each in (start, execute, result):
        add_store(each)
        add_json(each)


# --- messages


def _add_message_commands(commands: Any) -> None:
    signal = command(
        commands,
        "signal",
        "send a signal to a saga",
        f"Returns when the signal is durable. {_ARGUMENTS}",
        ["sagas signal sub-1 cancel", "sagas signal sub-1 change_plan pro --message-id order-17"],
    )
    signal.add_argument("--message-id", metavar="ID", help="the same id is taken once, however often it is sent")
    query = command(
        commands,
        "query",
        "ask a saga a question, print the answer",
        f"Needs a running host; also answers for a saga that has ended. {_ARGUMENTS}",
        ["sagas query sub-1 is_cancelled"],
    )
    update = command(
        commands,
        "update",
        "send an update to a saga, print what its handler returns",
        "Exits with 1 when the saga rejects it or its handler fails. Ctrl-C stops the waiting, not the update. "
        + _ARGUMENTS,
        ["sagas update sub-1 change_plan pro", "sagas update sub-1 change_plan pro --message-id order-17 --timeout 10"],
    )
    update.add_argument(
        "--message-id", metavar="ID", help="the same id is one update; who sends it again gets its outcome"
    )
    update.add_argument("--timeout", type=float, metavar="SECONDS", help="stop waiting after this time")
    for each in (query, update):
        add_json(each)
    for each in (signal, query, update):
        add_id(each)
        each.add_argument("name", metavar="NAME", help="the handler's name")
        each.add_argument("args", metavar="ARG", nargs="*", default=[], help="its arguments")
    cancel = command(
        commands,
        "cancel",
        "ask a saga to cancel: it undoes what it did, then ends",
        "Returns when the request is durable; `sagas result ID` waits for the end.",
        ["sagas cancel trip-1 --reason 'the customer called'"],
    )
    terminate = command(
        commands,
        "terminate",
        "end a saga at once: no code runs, nothing is undone",
        "For a saga that cannot be cancelled. Prefer `sagas cancel`.",
        ["sagas terminate trip-1 --reason 'booked by hand'"],
    )
    for each in (cancel, terminate):
        each.add_argument("--reason", default="", metavar="TEXT", help="kept in the history")
    pause = command(
        commands,
        "pause",
        "run no code of a saga until `sagas resume`",
        "Messages and results that arrive meanwhile are recorded.",
        ["sagas pause trip-1 --by anna"],
    )
    resume = command(
        commands,
        "resume",
        "let a paused saga go on, or a parked one whose cause is mended",
        "A parked saga runs again from where it stood; if the cause is still there, it parks again.",
        ["sagas resume trip-1 --by anna"],
    )
    for each in (pause, resume):
        each.add_argument("--by", default="", metavar="NAME", help="who, for the history")
    for each in (cancel, terminate, pause, resume):
        add_id(each)
    for each in (signal, query, update, cancel, terminate, pause, resume):
        add_store(each)
    _add_callback_commands(commands)
    _add_letter_commands(commands)


def _add_letter_commands(commands: Any) -> None:
    letters = command(
        commands,
        "letters",
        "the dead letters of a saga: signals that no handler could take",
        "They lie in its history, and do no harm; `sagas redeliver` has them applied again.",
        ["sagas letters sub-1"],
    )
    add_json(letters)
    redeliver = command(
        commands,
        "redeliver",
        "have the dead letters of a saga applied again, by code that can take them now",
        "One that no handler can take this time either dies again.",
        ["sagas redeliver sub-1", "sagas redeliver sub-1 0 --by anna"],
    )
    redeliver.add_argument("--by", default="", metavar="NAME", help="who, for the history")
    for each in (letters, redeliver):
        add_id(each)
        add_store(each)
    redeliver.add_argument("letter", metavar="LETTER", nargs="?", help="its number, or its message id; all if left out")


def _add_callback_commands(commands: Any) -> None:
    complete = command(
        commands,
        "complete",
        "answer a saga's callback with a value",
        "Returns when the answer is durable. The first answer counts. VALUE is JSON where it can be read as JSON.",
        ["sagas complete TOKEN '{\"approved\": true}'", "sagas complete TOKEN"],
    )
    fail = command(
        commands,
        "fail",
        "answer a saga's callback with an error",
        "Returns when the answer is durable: awaiting the callback raises in the saga. The first answer counts.",
        ["sagas fail TOKEN 'the payment was declined'"],
    )
    for each in (complete, fail):
        each.add_argument("token", metavar="TOKEN", help="what the saga's callback().token gave")
        each.add_argument("--message-id", metavar="ID", help="the same id is one answer, however often it is sent")
        add_store(each)
    complete.add_argument("value", metavar="VALUE", nargs="?", help="the value; null if left out")
    fail.add_argument("error", metavar="ERROR", help="what went wrong, in words")


def _add_delete_commands(commands: Any) -> None:
    delete = command(
        commands,
        "delete",
        "remove a saga that has ended, with all its runs, for good",
        "Its id is free then, as if it had never been. A saga that runs is to be cancelled or terminated first.",
        ["sagas delete trip-1"],
    )
    add_id(delete)
    erase = command(
        commands,
        "erase",
        "remove all sagas that a query finds and that have ended",
        "QUERY is as in `sagas list`. Those that still run stay, and are named; then the exit code is 1.",
        ["sagas erase \"attributes.customer = 'ada'\""],
    )
    erase.add_argument("query", metavar="QUERY")
    for each in (delete, erase):
        add_store(each)


# --- another run from the beginning of one


def _add_fork_commands(commands: Any) -> None:
    fork = command(
        commands,
        "fork",
        "start a saga from the beginning of another one's history",
        "The new saga goes on from event N on the code that the hosts have now; its steps have other idempotency keys, "
        "and those that were open are made again. `sagas history ID` shows the numbers. Prints the new id.",
        ["sagas fork trip-1 --event 14 --id trip-1-again"],
    )
    fork.add_argument("--id", dest="new_id", metavar="NEW", help="the new saga's id (else a random one)")
    reset = command(
        commands,
        "reset",
        "run a saga again from an event of its history on",
        "As `sagas fork`, under the same id: a run that goes on is terminated, undoing nothing, and the new one takes "
        "its place.",
        ["sagas reset trip-1 --event 14"],
    )
    for each in (fork, reset):
        add_id(each)
        each.add_argument("--event", type=int, required=True, metavar="N", help="the last event to take over")
        add_run(each)
        add_store(each)
        add_json(each)


# --- look


def _add_look_commands(commands: Any) -> None:
    listing = command(
        commands,
        "list",
        "list sagas",
        "QUERY is field = 'value' (or !=), joined by and; fields are status, type, id, compensation and parked.",
        ["sagas list", "sagas list \"status = 'running' and type = 'Subscription'\"", "sagas list \"parked != ''\""],
    )
    listing.add_argument("query", metavar="QUERY", nargs="?", default="", help="which; all if left out")
    listing.add_argument("--limit", type=count, metavar="N", help="show at most N (100; with --json all)")
    describe = command(
        commands,
        "describe",
        "how a saga stands, and why it is waiting",
        "Says what a saga waits for and what to do about it.",
        ["sagas describe trip-1"],
    )
    history = command(
        commands,
        "history",
        "every event of a saga's run",
        "Numbers are places in the history. --json tells every event whole.",
        [
            "sagas history trip-1",
            "sagas history trip-1 --json | jq 'select(.event == \"StepFailed\")'",
            "sagas history trip-1 --download trip-1.history",
        ],
    )
    history.add_argument(
        "--download", type=Path, metavar="FILE", help="write it to a file that `sagas replay` and tests can read"
    )
    trace = command(
        commands,
        "trace",
        "a saga's run as a tree of steps, attempts and undos, with times",
        "Made from the history, so it needs no tracing backend.",
        ["sagas trace trip-1"],
    )
    for each in (describe, history, trace):
        add_id(each)
    for each in (history, trace):
        add_run(each)
    doctor = command(
        commands,
        "doctor",
        "check that a Redis is safe for sagas, and how fast its disk is",
        "Only reads. Exits with 1 when something would lose data. If there is a data folder, its disk is measured.",
        ["sagas doctor", "sagas doctor --url redis://HOST:6379/0 --json"],
    )
    for each in (listing, describe, history, trace, doctor):
        add_store(each)
        add_json(each)
    _add_replay_command(commands)


def _add_replay_command(commands: Any) -> None:
    replay = command(
        commands,
        "replay",
        "run your code over downloaded histories, to see whether it still fits them",
        "Needs no Redis and changes nothing: steps are not made again, their recorded results are taken. The code runs "
        "in this process, so a breakpoint() in it is hit. Exits with 1 when code and a history part, and says where.",
        [
            "sagas history trip-1 --download trip-1.history",
            "sagas replay trip-1.history --module shop",
            "sagas replay histories/*.history --module shop --pdb",
        ],
    )
    replay.add_argument("files", metavar="FILE", nargs="+", type=Path, help="what `sagas history --download` wrote")
    replay.add_argument(
        "--module", metavar="MODULE", action="append", required=True, help="where the sagas are; may be repeated"
    )
    replay.add_argument("--pdb", action="store_true", help="open the debugger where the code parts from a history")
    add_json(replay)


def _version() -> str:
    try:
        return importlib.metadata.version("ray-sagas")
    except importlib.metadata.PackageNotFoundError:
        return "(from a source tree that is not installed)"
