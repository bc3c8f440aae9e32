"""The trace of one run for a terminal: ``rich.print(trace_tree(spans_of_history(await handle.history())))``.

Knows spans only. An undo stands below what it undoes, a failed attempt below its step, everything else below the run,
in the order in which it began; in which of the run's traces a span lies makes no difference.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from rich.tree import Tree

from sagas.telemetry.span import Kind, Span, SpanStatus

_MARKS = {
    Kind.RUN: "▶",
    Kind.STEP: "●",
    Kind.COMPENSATION: "↩",
    Kind.TIMER: "⏱",
    Kind.MESSAGE: "✉",
    Kind.OUTGOING: "→",
    Kind.STANDSTILL: "‖",
    Kind.UNWIND: "↺",
}
_STYLES = {SpanStatus.OK: "green", SpanStatus.ERROR: "red", SpanStatus.UNSET: "cyan"}


def trace_tree(spans: Sequence[Span]) -> Tree:
    """The spans of one run, as they were emitted, as a tree. A run that goes on has no span of its own and says so.

    Raises: ValueError without any span, or for those of several runs.
    """
    runs = {str(span.attributes["saga.run_id"]) for span in spans}
    if len(runs) != 1:
        raise ValueError(f"a trace tree shows one run, these are spans of {len(runs)}")
    root = next((span for span in spans if span.kind is Kind.RUN), None)
    start_ms = root.start_ms if root is not None else min(map(_start_ms, spans))
    tree = Tree(_goes_on(spans[0]) if root is None else _line(root, start_ms), guide_style="dim")
    _add(tree, spans, start_ms)
    return tree


def _add(tree: Tree, spans: Sequence[Span], origin_ms: int) -> None:
    """Hang the spans into the tree: each below the step it is linked to, or below the run."""
    attempts: dict[int | None, list[Span]] = {}
    for span in spans:
        if span.kind is Kind.ATTEMPT and span.status is SpanStatus.ERROR:
            attempts.setdefault(span.parent_id, []).append(span)
    branches: dict[int, Tree] = {}
    shown = [span for span in spans if span.kind in _MARKS and span.kind is not Kind.RUN]
    # Spans come in the order of their ends; sorting is stable, so what began together stays in that order.
    for span in sorted(shown, key=lambda span: (_start_ms(span), span.end_ms)):
        above = next((branches[link.span_id] for link in span.links if link.span_id in branches), tree)
        branch = branches[span.span_id] = above.add(_line(span, origin_ms))
        for attempt in attempts.get(span.span_id, ()):
            branch.add(_attempt(attempt, origin_ms))


def _start_ms(span: Span) -> int:
    """When it began; a timer's span may leave out the time in which its run slept."""
    said = span.attributes
    if "saga.timer.lag_ms" not in said:
        return span.start_ms
    return span.end_ms - int(said["saga.timer.lag_ms"]) - int(said["saga.timer.delay_ms"])


def _line(span: Span, origin_ms: int) -> Text:
    said, start_ms = span.attributes, _start_ms(span)
    line = Text.assemble(
        (f"{_MARKS[span.kind]} ", _STYLES[span.status]),
        (str(said["saga.type"]) if span.kind is Kind.RUN else span.name, "bold"),
        (f"  {said['saga.id']}" if span.kind is Kind.RUN else f"  +{duration(start_ms - origin_ms)}", "dim"),
    )
    if span.end_ms > start_ms:
        line.append(f"  {duration(span.end_ms - start_ms)}")
    if (attempts := said.get("saga.attempts", 1)) != 1:
        line.append(f"  {attempts} attempts", "yellow")
    if lag_ms := int(said.get("saga.timer.lag_ms", 0)):
        line.append(f"  {duration(lag_ms)} late", "yellow")
    verdict = said.get("saga.status", "")
    if said.get("saga.cancelled"):
        verdict = "cancelled"
    elif span.kind in (Kind.STEP, Kind.COMPENSATION):
        verdict = "failed" if span.status is SpanStatus.ERROR else "done"
    if verdict:
        line.append(f"  {verdict}", _STYLES[span.status])
    if why := span.error or said.get("saga.reason", ""):
        line.append(f"  {_one_line(str(why))}", "red" if span.error else "dim")
    return line


def _goes_on(span: Span) -> Text:
    said = span.attributes
    return Text.assemble(
        ("▶ ", "cyan"), (str(said["saga.type"]), "bold"), (f"  {said['saga.id']}", "dim"), ("  running", "cyan")
    )


def _attempt(span: Span, origin_ms: int) -> Text:
    told = f"attempt {span.attributes['saga.attempt']}  +{duration(span.start_ms - origin_ms)}"
    return Text(f"{told}  {_one_line(span.error)}", "dim")


def _one_line(text: str, limit: int = 120) -> str:
    """A user's error may span lines; the tree has one for it."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def duration(ms: int) -> str:
    """In the two units that matter: "12ms", "3.2s", "4m 10s", "30d 2h"."""
    if ms < 1000:
        return f"{ms}ms"
    if ms < 60_000:
        return f"{ms / 1000:.3g}s"
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    first = next(at for at, (amount, _) in enumerate(units) if amount)
    return " ".join(f"{amount}{unit}" for amount, unit in units[first : first + 2] if amount)
