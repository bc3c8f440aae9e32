"""How tracing is switched on: by OpenTelemetry's own environment variables, and by nothing else."""

from __future__ import annotations

import functools
import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagas.telemetry.export import SpanExport

log = logging.getLogger("sagas.telemetry")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"


def exporter_from_environment() -> SpanExport | None:
    """What sends spans to the collector that the environment names (see docs/tracing.md), to be started; else None.

    None as well, with one line in the log, where the extra ``otlp`` is not installed or another protocol is asked for.
    """
    if not _wanted():
        return None
    protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), _SPOKEN)
    if protocol != _SPOKEN:
        return _no_export(f"spans are not exported: OTLP is spoken over {_SPOKEN} here, not over {protocol!r}")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        return _no_export("spans are not exported: install the extra, `pip install 'ray-sagas[otlp]'`")
    from sagas.telemetry.export import SpanExport
    from sagas.telemetry.parcel import Pace

    usual = Pace()
    batch = _number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", usual.batch)
    delay_ms = _number("OTEL_BSP_SCHEDULE_DELAY", round(usual.delay_s * 1000))
    return SpanExport(OTLPSpanExporter(), pace=Pace(batch=batch, delay_s=delay_ms / 1000))


def _wanted() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")
    return "otlp" in (each.strip() for each in exporters) and any(map(os.environ.get, _ENDPOINTS))


def _number(variable: str, default: int) -> int:
    """A positive number from the environment; what is none counts as unset, as OpenTelemetry demands."""
    value = os.environ.get(variable, "").strip()
    return int(value) if value.isdecimal() and int(value) > 0 else default


@functools.cache
def _no_export(why: str) -> None:
    """Said once a process."""
    log.warning("%s", why)
