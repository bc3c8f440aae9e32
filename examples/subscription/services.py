"""Account, payment and mail services in one process with one ledger, over HTTP: the world that the sagas act on.

Law: an idempotency key is decided once. The decision is in the ledger before anybody is answered; a repeated request
gets the same answer and does nothing. An undo that names an action never seen is accepted, and that action refused
later.

``python -m examples.subscription.services --port 0 --ledger PATH`` prints its URL as its first line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from examples.subscription.faults import Fault, FaultKind, Faults
from examples.subscription.ledger import Entry, Journal, Kind, Ledger, Op, book

CRASHED = 70
"""The exit status of a process that was told to crash."""

_BEFORE = frozenset({FaultKind.ERROR_BEFORE, FaultKind.CRASH_BEFORE})
_CRASHES = frozenset({FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER})
_ERRORS = frozenset({FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing asked for, under one idempotency key."""

    op: Op
    key: str
    user: str
    month: int = 0
    cents: int = 0
    detail: str = ""
    undo_of: str = ""

    def fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("op", "key", "user", "month", "cents", "detail", "undo_of")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: str
    prompt: bool = True  # no fault stood in its way

    @staticmethod
    def to(decision: Entry) -> Answer:
        if decision.kind is Kind.EFFECT:
            return Answer(status=200, body=f"{decision.op}-{decision.seq}")
        return Answer(status=402 if decision.detail == "declined" else 409, body=decision.detail)


class Services:
    """Decides requests and keeps the ledger; safe for several threads."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._faults = Faults(self._journal.entries)
        self._lock = threading.Lock()
        self._decided = {
            entry.key: entry for entry in self._journal.entries if entry.kind in (Kind.EFFECT, Kind.REFUSAL)
        }
        self._undone = {entry.undo_of for entry in self._decided.values() if entry.undo_of}
        self._accounts = Ledger(tuple(self._journal.entries)).accounts()

    def order(self, fault: Fault) -> None:
        """Arms a fault."""
        with self._lock:
            self._faults.order(self._journal.add(Kind.FAULT, user=fault.user, op=fault.op, detail=fault.to_json()))

    def entries(self, after: int) -> list[Entry]:
        """The ledger from entry ``after`` on."""
        with self._lock:
            return self._journal.entries[after:]

    def handle(self, request: Request) -> Answer:
        """Does what is asked, at most once for a key, and whatever fault was ordered for it."""
        with self._lock:
            self._journal.add(Kind.REQUEST, **request.fields())
            fault = self._hit(request, decline=False)
            if fault is not None and fault.kind in _BEFORE:
                return _failed(fault)
            answer = Answer.to(self._decision(request))
            if fault is not None and (fault.kind in _CRASHES or fault.kind in _ERRORS):
                return _failed(fault)
        if fault is None:
            return answer
        time.sleep(fault.delay_s)
        return Answer(status=answer.status, body=answer.body, prompt=False)

    def answered(self, request: Request) -> None:
        """Notes that the decision reached whoever asked."""
        with self._lock:
            self._journal.add(Kind.ANSWERED, op=request.op, user=request.user, key=request.key)

    def _hit(self, request: Request, *, decline: bool) -> Fault | None:
        found = self._faults.find(request.op, request.user, request.month, decline=decline)
        if found is None:
            return None
        order, fault = found
        self._journal.add(Kind.FAULT_USED, op=request.op, user=request.user, key=request.key, detail=str(order))
        self._faults.used(order)
        return fault

    def _decision(self, request: Request) -> Entry:
        known = self._decided.get(request.key)
        if known is not None:
            self._journal.add(Kind.REPEAT, **request.fields())
            return known
        refusal = self._why_not(request)
        fields = request.fields()
        entry = self._journal.add(Kind.REFUSAL, **{**fields, "detail": refusal}) if refusal else self._done(fields)
        self._decided[request.key] = entry
        return entry

    def _why_not(self, request: Request) -> str:
        """Why the request is refused, or an empty text."""
        if request.key in self._undone:
            return "undone before it came"
        if request.op is Op.CREATE_ACCOUNT and request.user in self._accounts:
            return "the account exists"
        return "declined" if self._hit(request, decline=True) else ""

    def _done(self, fields: dict[str, Any]) -> Entry:
        entry = self._journal.add(Kind.EFFECT, **fields)
        book(self._accounts, entry)
        if entry.undo_of:
            self._undone.add(entry.undo_of)
        return entry


def _failed(fault: Fault) -> Answer:
    """What a fault leaves of an answer; a crash leaves none."""
    if fault.kind in _CRASHES:
        os._exit(CRASHED)
    return Answer(status=500, body="told to fail", prompt=False)


class ServiceServer(ThreadingHTTPServer):
    """The HTTP face of ``services`` on a loopback port."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, services: Services) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.services = services

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ServiceServer

    def do_GET(self) -> None:
        """``/ledger?after=N``: the entries from N on, a JSON line each."""
        asked = urlsplit(self.path)
        if asked.path == "/ledger":
            after = int(parse_qs(asked.query).get("after", ["0"])[0])
            self._answer(200, "".join(f"{entry.to_json()}\n" for entry in self.server.services.entries(after)))
        else:
            self._answer(404, "no such thing")

    def do_POST(self) -> None:
        """``/faults`` arms a fault; any other path is an ``Op`` with the key in the header ``Idempotency-Key``."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            if self.path == "/faults":
                self._order(Fault.from_json(body))
            else:
                self._do(self._request(json.loads(body)))
        except (ValueError, TypeError, KeyError) as error:
            self._answer(400, f"{type(error).__name__}: {error}")

    def _order(self, fault: Fault) -> None:
        self.server.services.order(fault)
        self._answer(200, "armed")

    def _do(self, request: Request) -> None:
        answer = self.server.services.handle(request)
        if self._answer(answer.status, answer.body) and answer.prompt:
            self.server.services.answered(request)

    def _request(self, fields: dict[str, Any]) -> Request:
        key = self.headers["Idempotency-Key"]
        if not key:
            raise ValueError("the header Idempotency-Key is missing")
        return Request(op=Op(self.path.strip("/")), key=key, undo_of=self.headers.get("Undo-Of", ""), **fields)

    def _answer(self, status: int, text: str) -> bool:
        """Whether the answer could be sent."""
        body = text.encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:  # whoever asked has given up
            self.close_connection = True
            return False
        return True

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the ledger is the log."""


def _die_with_parent() -> None:
    """Exits when standard input ends, which happens when whoever holds its other end is gone."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.subscription.services", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    with ServiceServer(options.port, Services(options.ledger)) as server:
        print(server.url, flush=True)
        if options.with_parent:
            threading.Thread(target=_die_with_parent, daemon=True).start()
        server.serve_forever()


if __name__ == "__main__":
    main()
