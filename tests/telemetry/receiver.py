"""An OTLP/HTTP collector for tests: keeps every span it takes, and can refuse, hang or lose its answers on demand."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan


@dataclass(frozen=True, kw_only=True)
class ReceivedSpan:
    """As it came over the wire. ``links`` are (trace id, span id, why); ``status`` "unset", "ok" or "error"."""

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: tuple[tuple[int, int, str], ...]
    events: tuple[tuple[str, int], ...]
    status: str
    error: str
    service: str


class Receiver:
    """What ``receiving()`` gives. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._spans: list[ReceivedSpan] = []
        self._requests = 0
        self._status = 200
        self._go_on = threading.Event()
        self._go_on.set()
        self._swallow = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def endpoint(self) -> str:
        """For ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def spans(self) -> list[ReceivedSpan]:
        """Everything taken so far, repeats too."""
        with self._changed:
            return list(self._spans)

    @property
    def requests(self) -> int:
        """How often it was asked, with whatever answer."""
        with self._changed:
            return self._requests

    def of(self, id: str) -> list[ReceivedSpan]:
        """Spans of one instance, each once."""
        return [span for span in self.unique().values() if span.attributes.get("saga.id") == id]

    def unique(self) -> dict[tuple[int, int], ReceivedSpan]:
        """By (trace id, span id). Raises AssertionError when two spans of one id differ."""
        found: dict[tuple[int, int], ReceivedSpan] = {}
        for span in self.spans:
            known = found.setdefault((span.trace_id, span.span_id), span)
            assert known == span, f"two spans of one id differ: {known} and {span}"
        return found

    def refuse(self, status: int = 503) -> None:
        """Answer this from now on."""
        self._status = status

    def hang(self) -> None:
        """Answer nobody from now on."""
        self._go_on.clear()

    def lose_answers(self) -> None:
        """Keep what comes and answer 503: the sender must send it again."""
        self._status, self._swallow = 503, True

    def accept(self) -> None:
        """Take everything again; those that hang are answered."""
        self._status, self._swallow = 200, False
        self._go_on.set()

    def wait_for(self, condition: Callable[[Receiver], bool], timeout_s: float = 30) -> None:
        """Until ``condition`` holds of this receiver. Raises: TimeoutError."""
        end = time.monotonic() + timeout_s
        while not condition(self):
            with self._changed:
                if not self._changed.wait(min(1.0, max(0.0, end - time.monotonic()))) and time.monotonic() >= end:
                    raise TimeoutError(f"{len(self._spans)} spans in {self._requests} requests, and still not true")

    def asked(self, body: bytes) -> int:
        """Take a request; returns the HTTP status to answer with."""
        with self._changed:
            self._requests += 1
            self._changed.notify_all()
        self._go_on.wait()
        status = self._status
        if status == 200 or self._swallow:
            request = ExportTraceServiceRequest.FromString(body)
            with self._changed:
                self._spans += _spans_of(request)
                self._changed.notify_all()
        return status

    def serve(self) -> threading.Thread:
        """Begin to answer."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Answer nobody any more; the port is free."""
        self._go_on.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A collector on a free loopback port."""
    receiver = Receiver()
    thread = receiver.serve()
    try:
        yield receiver
    finally:
        receiver.close()
        thread.join(10)


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status = receiver.asked(body) if self.path == "/v1/traces" else 404
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Silence."""

    return Handler


def _spans_of(request: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    return [
        _received(span, {each.key: _value(each.value) for each in of_resource.resource.attributes})
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def _received(span: WireSpan, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        trace_id=int.from_bytes(span.trace_id),
        span_id=int.from_bytes(span.span_id),
        parent_id=int.from_bytes(span.parent_span_id) if span.parent_span_id else None,
        name=span.name,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes={each.key: _value(each.value) for each in span.attributes},
        links=tuple(
            (int.from_bytes(link.trace_id), int.from_bytes(link.span_id), _why(link.attributes)) for link in span.links
        ),
        events=tuple((event.name, event.time_unix_nano) for event in span.events),
        status={0: "unset", 1: "ok", 2: "error"}[span.status.code],
        error=span.status.message,
        service=resource.get("service.name", ""),
    )


def _why(attributes: Any) -> str:
    return next((each.value.string_value for each in attributes if each.key == "saga.link"), "")


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    return None if which is None else getattr(value, which)
