"""One table row of the compensation rules after the other; the combinations are walked in the other two files."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compensations import Compensation, Outcome, PivotPassed, Plan, Savepoint, ScopeClosed

DONE, UNKNOWN, NONE = Outcome.DONE, Outcome.UNKNOWN, Outcome.NONE


def plan_of(*outcomes: Outcome | None) -> Plan:
    """A plan whose steps 1, 2, ... ended so; None leaves a step open."""
    plan = Plan()
    settle(plan, *outcomes)
    return plan


def settle(plan: Plan, *outcomes: Outcome | None, first: int = 1) -> None:
    for step, outcome in enumerate(outcomes, first):
        plan.schedule(step)
        if outcome is not None:
            plan.settle(step, outcome)


def undo_all(plan: Plan, parallel: bool = False) -> list[int]:
    """Start and finish every undo the plan asks for; the order in which it asked."""
    order: list[int] = []
    while steps := plan.next(parallel):
        for step in steps:
            plan.started(step)
        for step in steps:
            plan.undone(step)
        order += steps
    return order


def states(plan: Plan) -> dict[int, str]:
    return {entry.step: entry.state for entry in plan.entries()}


def stuck_plan() -> Plan:
    """Steps 1..3 done, the scope failed, the undo of 3 gave up."""
    plan = plan_of(DONE, DONE, DONE)
    plan.unwind()
    plan.started(3)
    plan.failed(3, "gateway gone")
    return plan


class TestOutcomeDecides:
    @pytest.mark.parametrize(
        ("outcome", "undone", "state"),
        [(DONE, [1], "undone"), (UNKNOWN, [1], "undone"), (NONE, [], "void")],
    )
    def test_a_failing_scope_undoes_what_may_have_had_an_effect(
        self, outcome: Outcome, undone: list[int], state: str
    ) -> None:
        plan = plan_of(outcome)
        plan.unwind()
        assert undo_all(plan) == undone
        assert states(plan) == {1: state}
        assert plan.compensation is (Compensation.DONE if undone else Compensation.NONE)

    @pytest.mark.parametrize(("first", "second"), [(DONE, NONE), (NONE, DONE), (UNKNOWN, DONE)])
    def test_the_first_outcome_wins(self, first: Outcome, second: Outcome) -> None:
        plan = plan_of(first)
        plan.settle(1, second)
        assert [entry.outcome for entry in plan.entries()] == [first]

    def test_a_step_joins_when_it_is_scheduled(self) -> None:
        plan = plan_of(None)
        assert [(entry.step, entry.outcome, entry.state) for entry in plan.entries()] == [(1, None, "pending")]

    def test_an_undo_registered_by_hand_is_undone_like_a_done_step(self) -> None:
        plan = plan_of(DONE)
        plan.add(2)
        assert plan.open_steps() == ()
        plan.unwind()
        assert undo_all(plan) == [2, 1]

    def test_an_empty_scope_has_nothing_to_undo(self) -> None:
        plan = Plan()
        plan.unwind()
        assert (plan.next(), plan.finished, plan.compensation) == ((), True, Compensation.NONE)


class TestSettlesFirst:
    @pytest.mark.parametrize("end", [Plan.unwind, Plan.close])
    def test_no_end_of_a_scope_selects_anything_before_the_last_outcome(self, end: Callable[[Plan], None]) -> None:
        plan = plan_of(UNKNOWN, None, NONE, None)
        for still_open in ([2, 4], [2]):
            assert plan.open_steps() == tuple(still_open)
            with pytest.raises(ValueError, match="open"):
                end(plan)
            assert not plan.ended
            assert plan.compensation is Compensation.NONE
            plan.settle(still_open[-1], UNKNOWN)
        end(plan)
        assert undo_all(plan) == [4, 2, 1]

    def test_a_kept_step_must_settle_too(self) -> None:
        plan = plan_of(DONE, None)
        plan.keep(2)
        assert plan.open_steps() == (2,)
        with pytest.raises(ValueError, match="open"):
            plan.unwind()

    def test_going_back_waits_only_for_steps_after_the_savepoint(self) -> None:
        plan = plan_of(None)
        savepoint = plan.savepoint()
        settle(plan, DONE, None, first=2)
        assert plan.open_steps(savepoint) == (3,)
        with pytest.raises(ValueError, match="open"):
            plan.unwind(savepoint)
        plan.settle(3, NONE)
        plan.unwind(savepoint)
        assert undo_all(plan) == [2]


class TestCaughtAndUnknown:
    def test_a_good_close_undoes_unknown_steps_only(self) -> None:
        plan = plan_of(DONE, UNKNOWN, NONE, UNKNOWN)
        plan.close()
        assert undo_all(plan) == [4, 2]
        assert states(plan) == {1: "pending", 2: "undone", 3: "void", 4: "undone"}
        assert plan.finished

    def test_a_kept_step_survives_a_good_close(self) -> None:
        plan = plan_of(UNKNOWN, UNKNOWN)
        plan.keep(1)
        plan.close()
        assert undo_all(plan) == [2]
        assert states(plan) == {1: "kept", 2: "undone"}

    def test_a_kept_step_survives_a_failing_scope_and_the_outer_one(self) -> None:
        inner, outer = plan_of(UNKNOWN, DONE), Plan()
        inner.keep(1)
        inner.close()
        outer.adopt(inner)
        outer.unwind()
        assert undo_all(outer) == [2]
        assert states(outer) == {1: "kept", 2: "undone"}

    def test_keeping_holds_whatever_the_outcome_will_be(self) -> None:
        plan = plan_of(None, None)
        plan.keep(1)
        plan.keep(2)
        plan.keep(2)
        plan.settle(1, UNKNOWN)
        plan.settle(2, NONE)
        plan.keep(2)
        plan.unwind()
        assert states(plan) == {1: "kept", 2: "void"}
        assert plan.compensation is Compensation.NONE

    def test_it_is_too_late_to_keep_what_is_being_undone(self) -> None:
        plan = plan_of(UNKNOWN)
        plan.close()
        for advance in (None, plan.started, plan.undone):
            if advance is not None:
                advance(1)
            with pytest.raises(ValueError, match="cannot become kept"):
                plan.keep(1)


class TestNewestFirst:
    def test_one_at_a_time_in_reverse_order_of_scheduling(self) -> None:
        plan = plan_of(DONE, UNKNOWN, NONE, DONE)
        plan.unwind()
        for step, following in ((4, (2,)), (2, (1,)), (1, ())):
            assert plan.next() == (step,)
            plan.started(step)
            assert plan.next() == ()
            assert plan.compensation is Compensation.RUNNING
            assert not plan.finished
            plan.undone(step)
            assert plan.next() == following
        assert plan.finished
        assert plan.compensation is Compensation.DONE

    def test_steps_settle_in_any_order_without_changing_the_order_of_undo(self) -> None:
        plan = plan_of(None, None, None)
        for step in (2, 3, 1):
            plan.settle(step, DONE)
        plan.unwind()
        assert undo_all(plan) == [3, 2, 1]

    def test_parallel_runs_all_at_once_and_collects_every_error(self) -> None:
        plan = plan_of(DONE, DONE, UNKNOWN)
        plan.unwind()
        assert plan.next(parallel=True) == (3, 2, 1)
        for step in (3, 2, 1):
            plan.started(step)
        assert plan.next(parallel=True) == ()
        plan.failed(3, "c")
        plan.failed(1, "a")
        plan.undone(2)
        assert plan.stuck == ((1, "a"), (3, "c"))
        assert plan.compensation is Compensation.STUCK

    def test_in_parallel_a_stuck_undo_holds_nothing_back(self) -> None:
        plan = stuck_plan()
        assert plan.next() == ()
        assert plan.next(parallel=True) == (2, 1)


class TestStuck:
    def test_it_says_why_and_holds_the_older_ones_back(self) -> None:
        plan = stuck_plan()
        assert plan.stuck == ((3, "gateway gone"),)
        assert (plan.next(), plan.finished, plan.compensation) == ((), False, Compensation.STUCK)

    @pytest.mark.parametrize(
        ("action", "order", "state"),
        [(Plan.retry, [3, 2, 1], "undone"), (Plan.skip, [2, 1], "skipped"), (Plan.undone, [2, 1], "undone")],
        ids=["retry", "skip", "resolve"],
    )
    def test_an_operator_gets_it_going(self, action: Callable[[Plan, int], None], order: list[int], state: str) -> None:
        plan = stuck_plan()
        action(plan, 3)
        assert (plan.stuck, plan.compensation) == ((), Compensation.RUNNING)
        assert undo_all(plan) == order
        assert states(plan) == {1: "undone", 2: "undone", 3: state}
        assert plan.compensation is Compensation.DONE

    def test_the_last_one_skipped_ends_it_as_done(self) -> None:
        plan = plan_of(DONE)
        plan.unwind()
        plan.started(1)
        plan.failed(1, "no")
        plan.skip(1)
        assert (plan.finished, plan.compensation) == (True, Compensation.DONE)

    def test_a_scope_closing_well_can_be_stuck_too(self) -> None:
        inner, outer = plan_of(UNKNOWN), Plan()
        inner.close()
        inner.started(1)
        inner.failed(1, "no")
        with pytest.raises(ValueError, match="nothing left to undo"):
            outer.adopt(inner)
        inner.skip(1)
        outer.adopt(inner)
        outer.unwind()
        assert states(outer) == {1: "skipped"}
        assert outer.next() == ()


class TestPivot:
    def test_nothing_before_it_is_undone(self) -> None:
        plan = plan_of(DONE, UNKNOWN, NONE)
        plan.pivot()
        plan.unwind()
        assert plan.pivoted
        assert states(plan) == {1: "kept", 2: "kept", 3: "void"}
        assert (plan.next(), plan.finished, plan.compensation) == ((), True, Compensation.NONE)

    def test_an_unknown_step_caught_before_it_stays_also_when_the_scope_closes_well(self) -> None:
        plan = plan_of(UNKNOWN)
        plan.pivot()
        plan.close()
        assert plan.next() == ()

    def test_a_step_open_at_the_pivot_stays_whatever_becomes_of_it(self) -> None:
        plan = plan_of(None, None)
        plan.pivot()
        assert plan.open_steps() == (1, 2)
        plan.settle(1, UNKNOWN)
        plan.settle(2, NONE)
        plan.unwind()
        assert states(plan) == {1: "kept", 2: "void"}

    @pytest.mark.parametrize("join", [Plan.schedule, Plan.add])
    def test_nothing_compensatable_joins_after_it(self, join: Callable[[Plan, int], None]) -> None:
        plan = Plan()
        plan.pivot()
        with pytest.raises(PivotPassed, match="step 7"):
            join(plan, 7)
        assert plan.entries() == ()

    def test_a_savepoint_older_than_the_pivot_is_refused(self) -> None:
        plan = Plan()
        savepoint = plan.savepoint()
        settle(plan, DONE)
        plan.pivot()
        for call in (plan.open_steps, plan.unwind):
            with pytest.raises(PivotPassed, match="older than a pivot"):
                call(savepoint)
        assert states(plan) == {1: "kept"}

    def test_a_savepoint_after_the_pivot_has_nothing_to_undo(self) -> None:
        plan = plan_of(DONE)
        plan.pivot()
        plan.unwind(plan.savepoint())
        assert plan.next() == ()
        assert not plan.ended

    def test_a_second_pivot_changes_nothing(self) -> None:
        plan = plan_of(DONE)
        plan.pivot()
        savepoint = plan.savepoint()
        plan.pivot()
        plan.unwind(savepoint)
        assert states(plan) == {1: "kept"}

    def test_what_was_undone_before_it_stays_undone(self) -> None:
        plan = plan_of(DONE)
        savepoint = plan.savepoint()
        settle(plan, DONE, first=2)
        plan.unwind(savepoint)
        undo_all(plan)
        plan.pivot()
        assert states(plan) == {1: "kept", 2: "undone"}
        assert plan.compensation is Compensation.DONE

    @pytest.mark.parametrize("how_far", ["selected", "running", "stuck"])
    def test_a_scope_that_is_going_back_cannot_pivot(self, how_far: str) -> None:
        plan = Plan()
        savepoint = plan.savepoint()
        settle(plan, DONE)
        plan.unwind(savepoint)
        if how_far != "selected":
            plan.started(1)
        if how_far == "stuck":
            plan.failed(1, "no")
        with pytest.raises(ValueError, match="going back"):
            plan.pivot()
        assert not plan.pivoted


class TestSavepoint:
    def test_back_then_another_way_then_failing_undoes_nothing_twice(self) -> None:
        plan = plan_of(DONE)
        savepoint = plan.savepoint()
        settle(plan, DONE, UNKNOWN, first=2)
        plan.unwind(savepoint)
        assert undo_all(plan) == [3, 2]
        assert not plan.ended
        settle(plan, DONE, DONE, first=4)
        plan.unwind()
        assert undo_all(plan) == [5, 4, 1]

    def test_the_same_savepoint_serves_again(self) -> None:
        plan = plan_of(DONE)
        savepoint = plan.savepoint()
        for step in (2, 3):
            settle(plan, DONE, first=step)
            plan.unwind(savepoint)
            assert undo_all(plan) == [step]
        plan.close()
        assert states(plan) == {1: "pending", 2: "undone", 3: "undone"}

    def test_a_savepoint_of_an_abandoned_branch_undoes_only_what_came_after_it(self) -> None:
        plan = Plan()
        early = plan.savepoint()
        settle(plan, DONE)
        late = plan.savepoint()
        plan.unwind(early)
        assert undo_all(plan) == [1]
        settle(plan, DONE, first=2)
        plan.unwind(late)
        assert undo_all(plan) == [2]

    def test_failing_while_going_back_adds_what_is_older_and_restarts_nothing(self) -> None:
        plan = plan_of(DONE, DONE)
        savepoint = plan.savepoint()
        settle(plan, DONE, DONE, first=3)
        plan.unwind(savepoint)
        plan.started(4)
        plan.unwind()
        assert plan.next() == ()
        plan.undone(4)
        assert undo_all(plan) == [3, 2, 1]

    def test_a_step_beside_an_undo_is_undone_when_the_scope_fails(self) -> None:
        plan = plan_of(DONE)
        savepoint = plan.savepoint()
        settle(plan, DONE, first=2)
        plan.unwind(savepoint)
        settle(plan, DONE, first=3)
        plan.unwind()
        assert undo_all(plan) == [3, 2, 1]

    def test_it_belongs_to_its_plan(self) -> None:
        with pytest.raises(ValueError, match="another scope"):
            Plan().unwind(Plan().savepoint())

    def test_it_is_of_no_use_once_the_scope_has_ended(self) -> None:
        plan = Plan()
        savepoint = plan.savepoint()
        plan.close()
        with pytest.raises(ScopeClosed):
            plan.unwind(savepoint)

    def test_it_is_a_value(self) -> None:
        plan = plan_of(DONE)
        assert plan.savepoint() == plan.savepoint() == Savepoint(plan=plan, place=1)


class TestNested:
    def test_an_inner_scope_that_closed_well_stays_undoable(self) -> None:
        outer = plan_of(DONE)
        inner = Plan()
        settle(inner, DONE, NONE, DONE, first=2)
        inner.close()
        outer.adopt(inner)
        settle(outer, DONE, first=5)
        outer.unwind()
        assert undo_all(outer) == [5, 4, 2, 1]

    def test_scopes_side_by_side_are_undone_in_scheduling_order(self) -> None:
        outer, left, right = Plan(), Plan(), Plan()
        for step, plan in enumerate((left, right, outer, right, left), 1):
            settle(plan, DONE, first=step)
        for inner in (right, left):
            inner.close()
            outer.adopt(inner)
        assert [entry.step for entry in outer.entries()] == [1, 2, 3, 4, 5]
        outer.unwind()
        assert undo_all(outer) == [5, 4, 3, 2, 1]

    def test_an_adopted_scope_goes_back_whole(self) -> None:
        outer, inner = Plan(), Plan()
        settle(inner, DONE)
        settle(outer, DONE, first=2)
        savepoint = outer.savepoint()
        settle(inner, DONE, first=3)
        inner.close()
        outer.adopt(inner)
        outer.unwind(savepoint)
        assert undo_all(outer) == [3, 1]

    def test_what_the_inner_scope_undid_is_not_handed_over_but_counts(self) -> None:
        outer, inner = Plan(), plan_of(DONE, UNKNOWN)
        inner.close()
        undo_all(inner)
        outer.adopt(inner)
        assert states(outer) == {1: "pending"}
        assert states(inner) == {2: "undone"}
        assert outer.compensation is Compensation.DONE

    def test_entries_move_so_that_the_inner_plan_can_undo_nothing_more(self) -> None:
        outer, inner = Plan(), plan_of(DONE)
        inner.close()
        outer.adopt(inner)
        inner.unwind()
        assert inner.next() == ()
        with pytest.raises(KeyError):
            inner.started(1)

    def test_two_levels_up(self) -> None:
        outer, middle, inner = Plan(), Plan(), plan_of(DONE)
        for above, below in ((middle, inner), (outer, middle)):
            below.close()
            above.adopt(below)
        outer.unwind()
        assert undo_all(outer) == [1]

    def test_an_inner_pivot_is_final_for_the_inner_steps_alone(self) -> None:
        outer = plan_of(DONE)
        before_inner = outer.savepoint()
        inner = Plan()
        settle(inner, DONE, first=2)
        inner.pivot()
        inner.close()
        outer.adopt(inner)
        settle(outer, DONE, first=3)
        assert not outer.pivoted
        with pytest.raises(PivotPassed, match="older than a pivot"):
            outer.unwind(before_inner)
        outer.unwind()
        assert undo_all(outer) == [3, 1]
        assert states(outer) == {1: "undone", 2: "kept", 3: "undone"}

    def test_an_inner_pivot_bars_the_savepoints_of_every_outer_scope(self) -> None:
        outer, middle, inner = Plan(), Plan(), plan_of(DONE)
        savepoint = outer.savepoint()
        inner.pivot()
        for above, below in ((middle, inner), (outer, middle)):
            below.close()
            above.adopt(below)
        with pytest.raises(PivotPassed):
            outer.unwind(savepoint)

    def test_a_savepoint_after_an_inner_pivot_works(self) -> None:
        outer, inner = Plan(), plan_of(DONE)
        inner.pivot()
        inner.close()
        outer.adopt(inner)
        savepoint = outer.savepoint()
        settle(outer, DONE, first=2)
        outer.unwind(savepoint)
        assert undo_all(outer) == [2]

    def test_an_inner_scope_that_ends_inside_a_pivoted_one_is_final(self) -> None:
        outer, inner = Plan(), plan_of(DONE)
        outer.pivot()
        savepoint = outer.savepoint()
        inner.close()
        outer.adopt(inner)
        with pytest.raises(PivotPassed):
            outer.unwind(savepoint)
        outer.unwind()
        assert states(outer) == {1: "kept"}
        assert outer.next() == ()

    @pytest.mark.parametrize("made", [Plan, stuck_plan], ids=["not ended", "still undoing"])
    def test_only_an_ended_scope_without_undos_left_is_adopted(self, made: Callable[[], Plan]) -> None:
        with pytest.raises(ValueError, match="can be adopted"):
            Plan().adopt(made())

    def test_a_plan_does_not_adopt_itself(self) -> None:
        plan = plan_of(DONE)
        with pytest.raises(ValueError, match="can be adopted"):
            plan.adopt(plan)
        assert states(plan) == {1: "pending"}

    def test_a_step_cannot_be_in_two_plans(self) -> None:
        outer, inner = plan_of(DONE, DONE), plan_of(DONE)
        inner.close()
        with pytest.raises(ValueError, match=r"steps \[1\]"):
            outer.adopt(inner)
        assert states(inner) == {1: "pending"}


class TestTheEndOfAScope:
    @pytest.mark.parametrize("end", [Plan.close, Plan.unwind])
    @pytest.mark.parametrize(
        "late",
        [
            lambda plan: plan.schedule(9),
            lambda plan: plan.add(9),
            lambda plan: plan.savepoint(),
            lambda plan: plan.pivot(),
            lambda plan: plan.adopt(Plan()),
        ],
        ids=["schedule", "add", "savepoint", "pivot", "adopt"],
    )
    def test_an_ended_scope_takes_nothing_in(self, end: Callable[[Plan], None], late: Callable[[Plan], object]) -> None:
        plan = plan_of(DONE)
        end(plan)
        before = plan.entries()
        with pytest.raises(ScopeClosed):
            late(plan)
        assert plan.ended
        assert plan.entries() == before

    def test_a_closed_scope_is_reopened_to_undo_a_child_saga(self) -> None:
        plan = plan_of(DONE, UNKNOWN, DONE)
        plan.close()
        assert undo_all(plan) == [2]
        plan.unwind()
        assert undo_all(plan) == [3, 1]

    def test_a_scope_cancelled_while_it_closes_undoes_the_rest_in_order(self) -> None:
        plan = plan_of(DONE, UNKNOWN, DONE)
        plan.close()
        plan.started(2)
        plan.unwind()
        plan.undone(2)
        assert undo_all(plan) == [3, 1]

    def test_failing_twice_is_failing_once(self) -> None:
        plan = plan_of(DONE)
        plan.unwind()
        plan.unwind()
        assert undo_all(plan) == [1]
        plan.unwind()
        assert plan.next() == ()
        assert plan.compensation is Compensation.DONE


class TestMisuse:
    @pytest.mark.parametrize(
        "call",
        [
            lambda plan: plan.settle(9, DONE),
            lambda plan: plan.keep(9),
            lambda plan: plan.started(9),
            lambda plan: plan.undone(9),
            lambda plan: plan.failed(9, ""),
            lambda plan: plan.retry(9),
            lambda plan: plan.skip(9),
        ],
        ids=["settle", "keep", "started", "undone", "failed", "retry", "skip"],
    )
    def test_an_unknown_step_is_a_key_error(self, call: Callable[[Plan], None]) -> None:
        with pytest.raises(KeyError, match="step 9"):
            call(plan_of(DONE))

    @pytest.mark.parametrize(
        ("state", "refused"),
        [
            ("pending", {"started", "undone", "failed", "retry", "skip"}),
            ("selected", {"undone", "failed", "retry", "skip"}),
            ("running", {"started", "retry", "skip"}),
            ("stuck", {"started", "failed"}),
            ("undone", {"started", "undone", "failed", "retry", "skip"}),
        ],
    )
    def test_an_undo_goes_one_way(self, state: str, refused: set[str]) -> None:
        def made() -> Plan:
            plan = plan_of(DONE)
            path = {"pending": 0, "selected": 1, "running": 2, "stuck": 3, "undone": 3}[state]
            last: Callable[[], None] = (lambda: plan.failed(1, "")) if state == "stuck" else (lambda: plan.undone(1))
            for move in [plan.unwind, lambda: plan.started(1), last][:path]:
                move()
            return plan

        moves: dict[str, Callable[[Plan], None]] = {
            "started": lambda plan: plan.started(1),
            "undone": lambda plan: plan.undone(1),
            "failed": lambda plan: plan.failed(1, ""),
            "retry": lambda plan: plan.retry(1),
            "skip": lambda plan: plan.skip(1),
        }
        for name, move in moves.items():
            plan = made()
            assert states(plan) == {1: state}
            if name in refused:
                with pytest.raises(ValueError, match=f"step 1 is {state}"):
                    move(plan)
                assert states(plan) == {1: state}
            else:
                move(plan)
                assert states(plan) != {1: state}

    @pytest.mark.parametrize("join", [Plan.schedule, Plan.add])
    def test_a_step_joins_once(self, join: Callable[[Plan, int], None]) -> None:
        plan = plan_of(DONE)
        with pytest.raises(ValueError, match="already"):
            join(plan, 1)
