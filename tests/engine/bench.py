"""A resident on a bench: inputs by hand, what it writes kept as a store would, and a reload at any point."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from compensations import Outcome
from sagas.engine.message import Cancel, Message, Pause, Query, Resume, Signal, Start, Terminate
from sagas.engine.resident import Due, Input, MailInput, Resident, Turn
from sagas.engine.steps import StepKey, StepReport, StepTask
from sagas.kernel.events import Event, decode_chunk
from sagas.kernel.failure import Failure
from sagas.kernel.handlers import handler_args, handler_name
from sagas.kernel.registry import Registry
from sagas.kernel.saga import saga_type_of
from sagas.payloads import encode
from sagas.store.head import decode_head
from sagas.store.port import Head, Loaded

START_MS = 1_704_067_200_000


def nobody_runs(_key: StepKey, _attempt: int) -> bool:
    return False


class Bench:
    """One instance, its resident and what its transitions left in the store."""

    def __init__(self, *known: Any, id: str = "id-1") -> None:
        self.registry = Registry()
        for definition in known:
            self.registry.add(definition)
        self.resident = self._made(id)
        self.now_ms = START_MS
        self.head: bytes | None = None
        self.runs: dict[str, list[bytes]] = {}
        self.steps: bytes | None = None
        self.timer_ms: int | None = None
        self.busy = False
        self.index: set[str] = set()
        self._numbers = itertools.count(1)

    def _made(self, id: str) -> Resident:
        return Resident(id, self.registry, draw=lambda: 0.5)

    # --- inputs

    def mail(self, message: Message) -> MailInput:
        return MailInput(f"1-{next(self._numbers)}", message)

    def start(self, saga: Any, *args: Any, run_id: str = "run-1", type: str = "") -> MailInput:
        of = saga_type_of(saga)
        body = of.arguments.encode(args, {})
        return self.mail(Start(message_id=f"start {run_id}", run_id=run_id, type=type or of.name, args=body))

    def signal(self, handler: Any, *args: Any) -> MailInput:
        message_id = f"m{next(self._numbers)}"
        name = handler if isinstance(handler, str) else handler_name(handler, "signal")
        return self.mail(Signal(message_id=message_id, name=name, args=handler_args(handler, args)))

    def query(self, handler: Any, *args: Any) -> MailInput:
        name = handler_name(handler, "query")
        return self.mail(Query(message_id="q", name=name, args=handler_args(handler, args), reply_to="rp:me"))

    def cancel(self, reason: str = "enough") -> MailInput:
        return self.mail(Cancel(message_id="c", reason=reason))

    def terminate(self, reason: str = "now") -> MailInput:
        return self.mail(Terminate(message_id="t", reason=reason))

    def pause(self) -> MailInput:
        return self.mail(Pause(message_id="p"))

    def resume(self) -> MailInput:
        return self.mail(Resume(message_id="r"))

    def done(self, task: StepTask, value: Any = None) -> StepReport:
        return StepReport(*task.key, task.attempt, encode(value), None, self.now_ms, self.now_ms)

    def failed(self, task: StepTask, error: BaseException | Failure) -> StepReport:
        failure = error if isinstance(error, Failure) else Failure.of(error)
        return StepReport(*task.key, task.attempt, None, failure, self.now_ms, self.now_ms)

    def withdrawn(self, task: StepTask) -> StepReport:
        failure = Failure.cancelled(Outcome.NONE)
        return StepReport(*task.key, task.attempt, None, failure, 0, 0, never_ran=True)

    # --- turns

    def turn(self, *inputs: Input, run: bool = True, after_ms: int = 1, commit: bool = True) -> Turn:
        """One turn with these inputs, and its commit."""
        self.now_ms += after_ms
        self.resident.inputs.extend(inputs)
        turn = self.resident.turn(self.now_ms, run=run)
        self.resident.in_commit += 1
        if commit:
            self.commit(turn)
        return turn

    def commit(self, turn: Turn) -> None:
        """What the store keeps of the turn."""
        self.resident.in_commit -= 1
        step = turn.transition
        if step is None:
            return
        chunks = self.runs.setdefault(step.run_id, [])
        assert step.version == len(chunks), "it would be refused as a CONFLICT"
        if step.chunk is not None:
            chunks.append(step.chunk)
        self.head, self.steps, self.timer_ms, self.busy = step.head, step.steps, step.timer_ms, step.busy
        for name, score in step.index:
            (self.index.discard if score is None else self.index.add)(name)

    def reload(self, running: Callable[[StepKey, int], bool] = nobody_runs) -> Resident:
        """Another owner, or the same one after a passivation, loads it."""
        self.resident.evict()
        self.resident = self._made(self.resident.id)
        chunks = () if self.head is None else tuple(self.runs.get(decode_head(self.head).run_id, ()))
        self.resident.load(Loaded(head=self.head, chunks=chunks, steps=self.steps))
        for task in self.resident.in_flight():
            if not running(task.key, task.attempt):
                self.resident.lose(task.step, self.now_ms)
        return self.resident

    # --- views

    @property
    def stored(self) -> Head:
        assert self.head is not None, "nothing was written"
        return decode_head(self.head)

    def history(self, run_id: str = "run-1") -> list[Event]:
        return [event for chunk in self.runs.get(run_id, []) for event in decode_chunk(chunk)]

    def kinds(self, run_id: str = "run-1") -> list[str]:
        return [type(event).__name__ for event in self.history(run_id)]


def kinds(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


DUE = Due()
