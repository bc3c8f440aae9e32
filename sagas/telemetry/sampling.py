"""Which runs are traced: decided once a run, by its start alone, so that every host and every later call agrees."""

from __future__ import annotations

import logging

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler

from sagas.kernel.events import RunStarted
from sagas.telemetry.trace import traces_of

log = logging.getLogger("sagas.telemetry")

_REMEMBERED = 10_000
_SAMPLED = otel.TraceFlags(otel.TraceFlags.SAMPLED)


class RunSampler:
    """Asks an OpenTelemetry sampler about each run; by default the one that ``OTEL_TRACES_SAMPLER`` names.

    That is, where nothing is set, what the caller sampled, and every run without a caller.
    """

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._sampler = sampler or TracerProvider(shutdown_on_exit=False).sampler
        self._known: dict[str, bool] = {}
        self._failed = False

    def samples(self, run: RunStarted) -> bool:
        """Whether its spans are exported; not where the sampler raises. Of one thread."""
        known = self._known.get(run.run_id)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()  # asking again gives the same answer
            known = self._known[run.run_id] = self._ask(run)
        return known

    def _ask(self, run: RunStarted) -> bool:
        try:
            return self._sampled(run)
        except Exception:  # somebody else's code, called in the middle of a host's flush
            if not self._failed:
                self._failed = True
                log.exception("the sampler raised: runs that it does not decide are not traced; said once")
            return False

    def _sampled(self, run: RunStarted) -> bool:
        traces = traces_of(run)
        trace_id = traces.trace_id(0)
        context = Context()  # explicit, or the sampler would look at whatever span surrounds the host
        if traces.caller is not None:
            flags = _SAMPLED if traces.caller.sampled else otel.TraceFlags(otel.TraceFlags.DEFAULT)
            caller = otel.SpanContext(trace_id, traces.caller.span_id, is_remote=True, trace_flags=flags)
            context = otel.set_span_in_context(otel.NonRecordingSpan(caller), context)
        return self._sampler.should_sample(context, trace_id, run.type).decision is Decision.RECORD_AND_SAMPLE
