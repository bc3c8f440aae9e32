"""An activity by itself: its function runs as in a step, without a saga, an engine or a clock.

Law: nothing is retried, timed or stored. What ``sagas.step()`` says is what the test says; a heartbeat raises what it
would raise in a worker, and its details come out as the next attempt would find them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sagas.engine.context import Step, running_step
from sagas.engine.pulse import DETAILS_LIMIT
from sagas.errors import PayloadError
from sagas.payloads import decode, encode


class StepAlone:
    """What a test sees of the step, and does to it."""

    def __init__(self) -> None:
        self.cancelled = False
        self.beats = 0  # heartbeats so far, with and without details
        self.details: list[Any] = []  # those that were told, in their order

    def cancel(self) -> None:
        """Cancel the step: its next heartbeat raises CancelledError, and ``sagas.step().cancelled`` is true."""
        self.cancelled = True

    def beat(self, details: bytes | None) -> None:
        """A heartbeat of the activity. Raises: CancelledError, PayloadError, as in a worker."""
        if self.cancelled:
            raise asyncio.CancelledError("the test cancelled the step")
        if details is not None and len(details) > DETAILS_LIMIT:
            raise PayloadError(f"heartbeat details of {len(details)} bytes are more than {DETAILS_LIMIT}")
        self.beats += 1
        if details is not None:
            self.details.append(decode(details))


@contextmanager
def step(
    *,
    attempt: int = 1,
    saga_id: str = "saga",
    run_id: str = "run",
    step_id: int = 1,
    idempotency_key: str | None = None,
    undo_of: str | None = None,
    deadline: datetime | None = None,
    heartbeat_details: Any = None,
) -> Generator[StepAlone]:
    """Within the block, activities called directly run as the step that the arguments describe.

    ``with sagas.testing.step(attempt=2, heartbeat_details={"row": 7}) as alone: result = await copy("a")``; then
    ``alone.details`` are the details of its heartbeats. ``idempotency_key``: else "<run_id>/<step_id>", as in an
    engine.
    Raises: PayloadError when ``heartbeat_details`` could never have been kept.
    """
    alone = StepAlone()
    token = running_step.set(
        Step(
            saga_id=saga_id,
            run_id=run_id,
            step_id=step_id,
            attempt=attempt,
            idempotency_key=f"{run_id}/{step_id}" if idempotency_key is None else idempotency_key,
            undo_of=undo_of,
            deadline=deadline,
            heartbeat_details=None if heartbeat_details is None else decode(encode(heartbeat_details)),
            pulse=alone,
        )
    )
    try:
        yield alone
    finally:
        running_step.reset(token)
