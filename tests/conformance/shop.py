"""A world of activities that can be undone, for tests of compensation: what they did is written down in order."""

from __future__ import annotations

from typing import Any

import sagas
from sagas import Permanent, Rejected, Retry, activity
from tests.conformance.world import Gate


class Refused(Rejected): ...


class Broken(Permanent): ...


class Shop:
    """``act("a")`` writes ``"do a"``, its undo ``"undo a <result>"``; a name may be made to fail or to wait."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.keys: dict[str, str] = {}
        self.undo_of: dict[str, str | None] = {}
        self.errors: dict[str, list[BaseException]] = {}
        self.gates: dict[str, Gate] = {}
        self.act: Any
        self.undo: Any
        self._declare()

    def fail(self, name: str, *errors: BaseException) -> None:
        """``name`` ("a", or "undo a") raises these errors, one a call, and then works."""
        self.errors[name] = list(errors)

    def gate(self, name: str) -> Gate:
        """``name`` waits there, after it has written what it did; made inside a loop."""
        self.gates[name] = Gate()
        return self.gates[name]

    async def _perform(self, what: str, line: str) -> None:
        self.log.append(line)
        if what in self.gates:
            await self.gates[what]()
        if self.errors.get(what):
            raise self.errors[what].pop(0)

    def _declare(self) -> None:
        @activity(retry=Retry(max_attempts=1))
        async def act(name: str) -> str:
            self.keys[name] = sagas.step().idempotency_key
            await self._perform(name, f"do {name}")
            return f"<{name}>"

        @act.compensation(retry=Retry(initial=0.01))
        async def undo(result: str | None, name: str) -> None:
            self.keys[f"undo {name}"] = sagas.step().idempotency_key
            self.undo_of[name] = sagas.step().undo_of
            await self._perform(f"undo {name}", f"undo {name} {result}")

        @activity(retry=Retry(max_attempts=1))
        async def plain(name: str) -> str:
            await self._perform(name, f"do {name}")
            return f"<{name}>"

        self.act, self.undo, self.plain = act, undo, plain
