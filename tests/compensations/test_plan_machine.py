"""Nested scopes, savepoints, pivots, keeps and parallel undos in any order, against a model that only keeps facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from compensations import Compensation, Outcome, PivotPassed, Plan, Savepoint

WAYS = st.lists(st.sampled_from([Outcome.DONE, Outcome.UNKNOWN, Outcome.NONE]), min_size=1, max_size=4)
MAYBE_OPEN = st.lists(st.sampled_from([Outcome.DONE, Outcome.UNKNOWN, None]), min_size=1, max_size=4)
MOVES = st.sampled_from(["start", "undone", "failed", "retry", "skip", "resolve", "all"])
REASON = "no answer"


@dataclass
class Fact:
    """All that is known of one step; the plan's answers must follow from it."""

    step: int
    outcome: Outcome | None = None
    kept: bool = False
    final: bool = False  # a pivot passed it
    undo: str = ""  # "", "selected", "running", "stuck", "undone", "skipped"

    @property
    def undoable(self) -> bool:
        return self.outcome in (Outcome.DONE, Outcome.UNKNOWN) and not (self.kept or self.final or self.undo)

    @property
    def state(self) -> str:
        if self.undo:
            return self.undo
        if self.outcome is Outcome.NONE:
            return "void"
        return "kept" if self.kept or self.final else "pending"


@dataclass
class Scope:
    """One scope: the plan under test and the facts about it, in order of joining."""

    number: int
    plan: Plan = field(default_factory=Plan)
    facts: list[Fact] = field(default_factory=list)
    savepoints: list[tuple[int, int, bool]] = field(default_factory=list)  # number, facts by then, pivot since
    pivoted: bool = False
    ended: str = ""  # "", "closed", "failed"
    selected: bool = False  # something ever was, here or in an adopted scope

    def with_undo(self, *undo: str) -> list[Fact]:
        return sorted((fact for fact in self.facts if fact.undo in undo), key=lambda fact: -fact.step)

    def busy(self) -> bool:
        return bool(self.with_undo("selected", "running", "stuck"))

    def open(self, since: int = 0) -> list[int]:
        return sorted(fact.step for fact in self.facts[since:] if fact.outcome is None)

    def select(self, facts: list[Fact]) -> None:
        for fact in facts:
            if fact.undoable:
                fact.undo = "selected"
                self.selected = True

    def make_final(self) -> None:
        for fact in self.facts:
            fact.final = True
        self.bar_savepoints()

    def bar_savepoints(self) -> None:
        """A pivot bars the savepoints that some step separates from it."""
        self.savepoints = [(n, place, barred or place < len(self.facts)) for n, place, barred in self.savepoints]


class PlanMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.scopes = 0
        self.points = 0
        self.calls: list[tuple[int, str, tuple[Any, ...]]] = []
        self.crashed_at = 0  # calls by then
        self.by_number: dict[int, Savepoint] = {}
        self.undone: list[Fact] = []
        self.stack = [self.new_scope()]
        self.left: list[Scope] = []

    def new_scope(self) -> Scope:
        self.scopes += 1
        return Scope(self.scopes)

    def tell(self, scope: Scope, method: str, *args: Any) -> Any:
        """Call the plan, and keep the call as a history would: savepoints and plans by number."""
        result = getattr(scope.plan, method)(*(self.live(arg) for arg in args))
        self.calls.append((scope.number, method, args))
        return result

    def live(self, arg: Any) -> Any:
        if isinstance(arg, Scope):
            return arg.plan
        return self.by_number[arg[1]] if isinstance(arg, tuple) else arg

    @property
    def top(self) -> Scope:
        return self.stack[-1]

    def running_scopes(self) -> list[Scope]:
        return [scope for scope in self.stack if not scope.ended]

    # --- going forward

    @initialize(outcomes=WAYS)
    def begin_the_run(self, outcomes: list[Outcome]) -> None:
        self.join(self.top, "schedule", outcomes)

    @precondition(lambda self: not self.top.ended and len(self.stack) < 4)
    @rule(outcomes=WAYS)
    def enter(self, outcomes: list[Outcome]) -> None:
        self.stack.append(self.new_scope())
        self.join(self.top, "schedule", outcomes)

    @precondition(lambda self: self.running_scopes())
    @rule(data=st.data(), outcomes=MAYBE_OPEN, by_hand=st.booleans())
    def go_on(self, data: st.DataObject, outcomes: list[Outcome | None], by_hand: bool) -> None:
        scope = data.draw(st.sampled_from(self.running_scopes()))
        self.join(scope, "add" if by_hand else "schedule", outcomes)

    def join(self, scope: Scope, method: str, outcomes: Sequence[Outcome | None]) -> None:
        for outcome in outcomes:
            self.steps += 1
            if scope.pivoted:
                with pytest.raises(PivotPassed):
                    self.tell(scope, method, self.steps)
                continue
            self.tell(scope, method, self.steps)
            scope.facts.append(Fact(self.steps, Outcome.DONE if method == "add" else outcome))
            if outcome is not None:
                self.tell(scope, "settle", self.steps, outcome)  # by hand: known already, changes nothing

    @precondition(lambda self: any(scope.open() for scope in self.stack))
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle(self, data: st.DataObject, outcome: Outcome) -> None:
        scope = data.draw(st.sampled_from([scope for scope in self.stack if scope.open()]))
        for fact in scope.facts:
            if fact.outcome is None:
                self.tell(scope, "settle", fact.step, outcome)
                fact.outcome = outcome

    @precondition(lambda self: any(scope.facts for scope in self.stack))
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        scope, fact = data.draw(st.sampled_from([(scope, fact) for scope in self.stack for fact in scope.facts]))
        if fact.undo:
            with pytest.raises(ValueError, match="cannot become kept"):
                self.tell(scope, "keep", fact.step)
        else:
            self.tell(scope, "keep", fact.step)
            fact.kept = True

    @precondition(lambda self: any(not scope.pivoted for scope in self.running_scopes()))
    @rule(data=st.data(), now=st.sampled_from([False, False, True]))
    def pivot(self, data: st.DataObject, now: bool) -> None:
        scope = data.draw(st.sampled_from([scope for scope in self.running_scopes() if now or not scope.pivoted]))
        if scope.busy():
            with pytest.raises(ValueError, match="going back"):
                self.tell(scope, "pivot")
        elif now:
            self.tell(scope, "pivot")
            scope.pivoted = True
            scope.make_final()

    @precondition(lambda self: any(len(scope.savepoints) < 3 for scope in self.running_scopes()))
    @rule(data=st.data())
    def savepoint(self, data: st.DataObject) -> None:
        scope = data.draw(st.sampled_from([scope for scope in self.running_scopes() if len(scope.savepoints) < 3]))
        self.points += 1
        self.by_number[self.points] = self.tell(scope, "savepoint")
        scope.savepoints.append((self.points, len(scope.facts), False))

    # --- going back

    @precondition(lambda self: any(scope.savepoints for scope in self.running_scopes()))
    @rule(data=st.data())
    def back_to(self, data: st.DataObject) -> None:
        scope = data.draw(st.sampled_from([scope for scope in self.running_scopes() if scope.savepoints]))
        number, place, barred = data.draw(st.sampled_from(scope.savepoints))
        to = ("savepoint", number)
        if barred:
            with pytest.raises(PivotPassed):
                self.tell(scope, "unwind", to)
        elif scope.open(place):
            assert list(scope.plan.open_steps(self.by_number[number])) == scope.open(place)
            with pytest.raises(ValueError, match="open"):
                self.tell(scope, "unwind", to)
        else:
            self.tell(scope, "unwind", to)
            scope.select(scope.facts[place:])

    @precondition(lambda self: self.top.facts)
    @rule(well=st.booleans())
    def end(self, well: bool) -> None:
        """The innermost scope closes or fails; ended ones may fail still (cancelled, or a child undone later)."""
        scope, method = self.top, "close" if well else "unwind"
        if scope.open():
            with pytest.raises(ValueError, match="open"):
                self.tell(scope, method)
            return
        self.tell(scope, method)
        scope.ended = "closed" if well and scope.ended != "failed" else "failed"
        scope.select([fact for fact in scope.facts if not well or fact.outcome is Outcome.UNKNOWN])

    @precondition(lambda self: self.top.ended)
    @rule(parallel=st.booleans())
    def leave(self, parallel: bool) -> None:
        """The innermost scope is over: the outer one takes over what is left."""
        inner = self.top
        outer = self.stack[-2] if len(self.stack) > 1 else self.new_scope()
        if inner.busy():
            with pytest.raises(ValueError, match="can be adopted"):
                self.tell(outer, "adopt", inner)
            self.undo_all(inner, parallel)
            return
        self.stack[-1:] = [] if len(self.stack) > 1 else [outer]
        self.tell(outer, "adopt", inner)
        final = any(fact.final for fact in inner.facts)
        outer.facts += [fact for fact in inner.facts if fact.undo != "undone"]
        inner.facts = [fact for fact in inner.facts if fact.undo == "undone"]
        outer.selected |= inner.selected
        if outer.pivoted:
            outer.make_final()
        elif final:
            outer.bar_savepoints()
        self.left.append(inner)

    # --- undoing

    @precondition(lambda self: any(scope.busy() for scope in self.stack))
    @rule(data=st.data(), parallel=st.booleans(), moves=st.lists(MOVES, min_size=1, max_size=6))
    def undo(self, data: st.DataObject, parallel: bool, moves: list[str]) -> None:
        scope = data.draw(st.sampled_from([scope for scope in self.stack if scope.busy()]))
        for move in moves:
            before = scope.with_undo("running" if move in ("undone", "failed") else "stuck")
            if move == "start":
                self.begin(scope, parallel)
            elif move == "all":
                self.undo_all(scope, parallel)
            elif before:
                self.answer(scope, data.draw(st.sampled_from(before)), "undone" if move == "resolve" else move)

    def undo_all(self, scope: Scope, parallel: bool) -> None:
        """Every undo succeeds, as far as the stuck ones let it."""
        while scope.with_undo("running") or self.begin(scope, parallel):
            for fact in scope.with_undo("running"):
                self.answer(scope, fact, "undone")

    def begin(self, scope: Scope, parallel: bool) -> tuple[int, ...]:
        steps = scope.plan.next(parallel)
        for step in steps:
            self.tell(scope, "started", step)
            next(fact for fact in scope.facts if fact.step == step).undo = "running"
        return steps

    def answer(self, scope: Scope, fact: Fact, method: str) -> None:
        self.tell(scope, method, fact.step, *([REASON] if method == "failed" else []))
        fact.undo = {"undone": "undone", "failed": "stuck", "retry": "selected", "skip": "skipped"}[method]
        if fact.undo == "undone":
            self.undone.append(fact)

    @precondition(lambda self: len(self.calls) > self.crashed_at)
    @rule()
    def crash(self) -> None:
        """All plans are lost, and rebuilt from the calls made so far; everything goes on with the new ones."""
        plans: dict[int, Plan] = {scope.number: Plan() for scope in self.stack + self.left}
        points: dict[int, Savepoint] = {}
        for number, method, args in self.calls:
            given = [
                plans[arg.number] if isinstance(arg, Scope) else points[arg[1]] if isinstance(arg, tuple) else arg
                for arg in args
            ]
            result = getattr(plans[number], method)(*given)
            if isinstance(result, Savepoint):
                points[len(points) + 1] = result
        for scope in self.stack + self.left:
            scope.plan = plans[scope.number]
        self.by_number = points
        self.crashed_at = len(self.calls)

    # --- the laws

    @invariant()
    def the_plan_tells_the_facts(self) -> None:
        for scope in self.stack + self.left:
            told = [(entry.step, entry.outcome, entry.state) for entry in scope.plan.entries()]
            facts = sorted(scope.facts, key=lambda fact: fact.step)
            assert told == [(fact.step, fact.outcome, fact.state) for fact in facts]
            assert scope.plan.pivoted is scope.pivoted
            assert scope.plan.ended is bool(scope.ended)
            assert scope.plan.open_steps() == tuple(scope.open())

    @invariant()
    def the_next_undos_are_the_newest(self) -> None:
        for scope in self.stack:
            due = tuple(fact.step for fact in scope.with_undo("selected"))
            assert scope.plan.next(parallel=True) == due
            assert scope.plan.next() == (() if scope.with_undo("running", "stuck") else due[:1])

    @invariant()
    def the_second_axis_follows(self) -> None:
        for scope in self.stack:
            stuck = tuple((fact.step, REASON) for fact in reversed(scope.with_undo("stuck")))
            assert scope.plan.stuck == stuck
            assert scope.plan.finished is not scope.busy()
            expected = Compensation.DONE if scope.selected else Compensation.NONE
            if scope.busy():
                expected = Compensation.STUCK if stuck else Compensation.RUNNING
            assert scope.plan.compensation is expected

    @invariant()
    def every_effect_is_undone_once_and_nothing_else_is(self) -> None:
        steps = [fact.step for fact in self.undone]
        assert len(steps) == len(set(steps))
        assert not any(fact.final or fact.kept or fact.outcome in (None, Outcome.NONE) for fact in self.undone)
        for scope in self.stack:
            if scope.ended == "failed" and scope.plan.finished:
                assert {entry.state for entry in scope.plan.entries()} <= {"undone", "skipped", "kept", "void"}


TestPlanMachine = PlanMachine.TestCase
TestPlanMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
