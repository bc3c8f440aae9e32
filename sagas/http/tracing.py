"""The request in its caller's trace: W3C ``traceparent`` and ``tracestate`` in, one server span, and on into messages.

Law: whatever a route sends carries the current span as its sender (``telemetry/caller.py``). Where the process has
configured OpenTelemetry that is a span of ours around the request, else the caller's own. A header that is no valid
trace context is ignored.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tracer = trace.get_tracer("sagas.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracer.start_as_current_span(
            scope["method"],
            context=_PROPAGATOR.extract(_carrier(Headers(scope=scope))),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "url.path": scope["path"]},
        ) as span:

            async def observe(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _describe(span, scope, message["status"])
                await send(message)

            await self._app(scope, receive, observe)


def _carrier(headers: Headers) -> dict[str, list[str]]:
    """The two headers; two ``traceparent``s are none."""
    parents = headers.getlist("traceparent")
    return {"traceparent": parents if len(parents) == 1 else [], "tracestate": headers.getlist("tracestate")}


def _describe(span: Span, scope: Scope, status: int) -> None:
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(StatusCode.ERROR)
