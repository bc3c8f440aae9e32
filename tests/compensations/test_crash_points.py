"""Every small scenario, crashed after every call: the plan rebuilt from its calls ends where the other would have.

The law: either all forward steps stand, or everything that may have had an effect is undone exactly once, newest
first, or the plan is stuck and says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import pytest

from compensations import Compensation, Outcome, Plan

DONE, UNKNOWN, NONE = Outcome.DONE, Outcome.UNKNOWN, Outcome.NONE
STEPS = 3
REASON = "the undo gave up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``outcomes`` of the steps that ran; the scope fails after the last of them, or closes well."""

    outcomes: tuple[Outcome, ...]
    fails: bool
    parallel: bool
    broken: int | None  # the step whose undo gives up the first time
    operator: Literal["retry", "skip", "resolve", "absent"]

    @property
    def due(self) -> list[int]:
        """What must be undone, newest first."""
        effects = (DONE, UNKNOWN) if self.fails else (UNKNOWN,)
        return [step for step, outcome in reversed([*enumerate(self.outcomes, 1)]) if outcome in effects]

    @property
    def expected(self) -> list[int]:
        """The undos that succeed, in order."""
        if self.broken is None:
            return self.due
        at = self.due.index(self.broken)
        newer, older = self.due[:at], self.due[at + 1 :]
        match self.operator:
            case "retry":
                return [*newer, *older, self.broken] if self.parallel else self.due
            case "absent":
                return newer + older if self.parallel else newer
            case "skip" | "resolve":
                return newer + older


@dataclass
class Run:
    """A kernel in small: it keeps every call made on the plan, and loses the plan itself after ``crash`` of them."""

    scenario: Scenario
    crash: int = -1
    plan: Plan = field(default_factory=Plan)
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    succeeded: list[int] = field(default_factory=list)

    def tell(self, method: str, *args: Any) -> None:
        getattr(self.plan, method)(*args)
        self.calls.append((method, args))
        if len(self.calls) == self.crash:
            self.plan = Plan()
            for name, given in self.calls:
                getattr(self.plan, name)(*given)

    def play(self) -> Run:
        for step, outcome in enumerate(self.scenario.outcomes, 1):
            self.tell("schedule", step)
            self.tell("settle", step, outcome)
        self.tell("unwind" if self.scenario.fails else "close")
        while self.advance():
            pass
        return self

    def advance(self) -> bool:
        """One round of undoing; everything it knows of undos in flight comes from the plan. False when at rest."""
        for step in self.plan.next(self.scenario.parallel):
            self.tell("started", step)
        running = [entry.step for entry in reversed(self.plan.entries()) if entry.state == "running"]
        for step in running:
            self.undo(step)
        return bool(running) or self.operate()

    def undo(self, step: int) -> None:
        first_try = ("failed", (step, REASON)) not in self.calls
        if step == self.scenario.broken and first_try:
            self.tell("failed", step, REASON)
        else:
            self.succeeded.append(step)
            self.tell("undone", step)

    def operate(self) -> bool:
        if not self.plan.stuck or self.scenario.operator == "absent":
            return False
        [(step, _)] = self.plan.stuck
        self.tell({"resolve": "undone"}.get(self.scenario.operator, self.scenario.operator), step)
        return True


def endings() -> Iterator[tuple[tuple[Outcome, ...], bool]]:
    """All ways forward: caught outcomes of the steps before, then the failing step's own, or a good close."""
    for count in range(1, STEPS + 1):
        for before in product((DONE, UNKNOWN, NONE), repeat=count - 1):
            for last in (UNKNOWN, NONE):
                yield (*before, last), True
    for outcomes in product((DONE, UNKNOWN, NONE), repeat=STEPS):
        yield outcomes, False


def scenarios(operator: Literal["retry", "skip", "resolve", "absent"]) -> Iterator[Scenario]:
    for (outcomes, fails), parallel in product(endings(), (False, True)):
        sound = Scenario(outcomes=outcomes, fails=fails, parallel=parallel, broken=None, operator=operator)
        yield sound
        for broken in sound.due:
            yield Scenario(outcomes=outcomes, fails=fails, parallel=parallel, broken=broken, operator=operator)


@pytest.mark.parametrize("operator", ["retry", "skip", "resolve", "absent"])
def test_all_forward_or_all_undone_once_in_order_or_stuck_with_a_reason(
    operator: Literal["retry", "skip", "resolve", "absent"],
) -> None:
    for scenario in scenarios(operator):
        run = Run(scenario).play()
        assert run.succeeded == scenario.expected, scenario
        if scenario.broken is not None and operator == "absent":
            assert run.plan.stuck == ((scenario.broken, REASON),), scenario
            assert run.plan.compensation is Compensation.STUCK
        else:
            assert run.plan.finished, scenario
            assert run.plan.compensation is (Compensation.DONE if scenario.due else Compensation.NONE), scenario


@pytest.mark.parametrize("operator", ["retry", "skip", "resolve", "absent"])
def test_a_crash_after_any_call_changes_nothing(operator: Literal["retry", "skip", "resolve", "absent"]) -> None:
    for scenario in scenarios(operator):
        whole = Run(scenario).play()
        for crash in range(1, len(whole.calls) + 1):
            crashed = Run(scenario, crash=crash).play()
            assert crashed.plan is not whole.plan
            assert crashed.calls == whole.calls, (scenario, crash)
            assert crashed.plan.entries() == whole.plan.entries(), (scenario, crash)
            assert crashed.plan.stuck == whole.plan.stuck, (scenario, crash)
