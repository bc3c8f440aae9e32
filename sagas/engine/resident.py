"""An instance while a host has it in memory: inputs in, one transition and its side effects out. No I/O.

Law: a transition is built from inputs alone and takes effect in memory at once; what it does to the world
(``Effects``) waits until the store has acknowledged it. If that never comes, the resident is dropped and loaded anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

from compensations import Compensation, Outcome
from sagas.engine.apart import Apart
from sagas.engine.callbacks import fact_of_answer
from sagas.engine.conduct import Conduct
from sagas.engine.envelope import envelope_of
from sagas.engine.extent import Extent
from sagas.engine.family import end_of_child, farewells, is_for_another
from sagas.engine.fingerprint import fingerprint
from sagas.engine.heads import head_of, index_changes, notice_of, removal_of
from sagas.engine.inheritance import Chunks, Inheritance, inherit
from sagas.engine.message import (
    CallbackAnswered,
    Cancel,
    ChildAnswer,
    Delete,
    Message,
    Pause,
    Query,
    Redeliver,
    Reply,
    Resume,
    Signal,
    Start,
    Terminate,
    Update,
    UpdateAsked,
)
from sagas.engine.retrying import Park, RetryAt, after_failure, standing
from sagas.engine.steps import (
    Attempt,
    Heartbeat,
    StepKey,
    StepReport,
    StepTask,
    Unplaced,
    decode_attempts,
    encode_attempts,
)
from sagas.engine.succession import succession
from sagas.engine.updates import Updates
from sagas.errors import CodecError, HistoryError, NondeterminismError, QueryFailed
from sagas.kernel.activity import StepOptions
from sagas.kernel.breaking import Blocked
from sagas.kernel.chain import goes_on_in
from sagas.kernel.duration import retention_ms
from sagas.kernel.episode import Trail
from sagas.kernel.events import (
    CLOSED,
    EPISODES,
    NOT_FOUND,
    Activated,
    CancelRequested,
    ChildCompleted,
    ChildFailed,
    ChildRefused,
    ChildScheduled,
    ChildStarted,
    CompensationCompleted,
    CompensationFailed,
    CompensationScheduled,
    DeadLetterRedelivered,
    Event,
    MessageDelivered,
    MessageRefused,
    MessageSent,
    Parked,
    Paused,
    Resumed,
    RunForked,
    RunStarted,
    RunTerminated,
    SignalReceived,
    StepCancelRequested,
    StepCompleted,
    StepFailed,
    StepScheduled,
    TimerFired,
    UpdateAccepted,
    UpdateReceived,
)
from sagas.kernel.failure import CANCELLED, ERROR, Failure
from sagas.kernel.instance import Activation, Instance
from sagas.kernel.known import known_before
from sagas.kernel.registry import Registry
from sagas.kernel.reserved import DEADLINE
from sagas.kernel.resources import shown
from sagas.kernel.saga import SagaType
from sagas.kernel.state import OpenStep, RunState
from sagas.limits import RETENTION_DAYS
from sagas.store.head import decode_head, encode_head
from sagas.store.port import Head, Loaded, Removal, Transition
from sagas.value import value

MOST_NAMED = 20
"""Of the children and the messages that an instance waits for, its head names the oldest: it is read all the time."""

CODE = "code"
"""The kind of wait of an instance whose saga type, or the codec of whose payloads, this host does not know."""


@value(frozen=True, slots=True)
class MailInput:
    """A message and the mailbox entry it came in; of ``Reported``, the report; of a fork, the history it takes over."""

    entry: str
    message: Message
    report: StepReport | None = None
    prefix: Chunks = ()


@value(frozen=True, slots=True)
class Due:
    """A timer or a retry of this instance has fallen due."""


@value(frozen=True, slots=True)
class OtherCode:
    """It was parked by code that this host does not have."""


OTHER_CODE = OtherCode()


@value(frozen=True, slots=True, kw_only=True)
class Relayed:
    """What the target's door said of a message that the run had sent; ``entry`` is its place in the outbox.

    Refused: ``status`` is how the target's run ``met`` there had ended, or stands; "" when there never was one.
    """

    entry: str
    run_id: str
    number: int
    delivered: bool
    status: str = ""
    met: str = ""


@value(frozen=True, slots=True)
class Stranded:
    """Its code has brought several processes of its own down, or they hung: it parks for ``why``."""

    why: str


Input = MailInput | StepReport | Heartbeat | Due | OtherCode | Relayed | Unplaced | Stranded
_ANSWERS = (MessageDelivered, MessageRefused, ChildStarted, ChildRefused)


@dataclass(slots=True)
class Effects:
    """What may be done to the world once the transition is durable."""

    dispatch: list[StepTask] = field(default_factory=list)
    cancel: list[StepKey] = field(default_factory=list)
    replies: list[tuple[str, Reply]] = field(default_factory=list)


@dataclass(slots=True)
class Turn:
    """One turn of a resident: its transition (None: nothing to write), its effects, the mail it needs no more."""

    transition: Transition | None
    effects: Effects
    discard: tuple[str, ...]
    removal: Removal | None = None  # the run is taken out, and nothing else happens in this turn
    sent: tuple[str, ...] = ()  # outbox entries that are answered
    run: RunStarted | None = None
    position: int = 0  # index of the first event in the run's history
    events: tuple[Event, ...] = ()
    trail: Trail = field(default_factory=Trail)  # what ``events`` end (their StepScheduled, ...), and their episodes
    inputs: tuple[Input, ...] = ()
    refused: tuple[Input, ...] = ()  # inputs that it could not apply
    drop: bool = False  # the resident is unusable once this is committed (it parked)
    read_upto: str = "0"  # the last mailbox entry its host had read when the turn was made
    following: Turn | None = None  # it closed a run that another one follows: begun in the same commit
    begins: bool = False  # it is such a beginning: code runs once it is durable


Traceparent = Callable[[RunStarted, int, int, int], str]
"""(run, episode, step, attempt) -> W3C traceparent of that attempt's span, for what the activity calls; "" for none."""


MessageTraceparent = Callable[[RunStarted, int, int], str]
"""(run, episode, number) -> W3C traceparent of the span of a message to another instance; "" for none."""


def untraced(_run: RunStarted, _episode: int, _step: int, _attempt: int) -> str:
    """Nobody wants spans."""
    return ""


def untraced_message(_run: RunStarted, _episode: int, _number: int) -> str:
    """Nobody wants spans."""
    return ""


class _Lent(NamedTuple):
    """What its host gives each resident: dice, and who names spans."""

    draw: Callable[[], float]
    traceparent: Traceparent
    message_traceparent: MessageTraceparent


class Resident:
    """One instance in memory."""

    def __init__(
        self,
        id: str,
        registry: Registry,
        draw: Callable[[], float] = random.random,
        traceparent: Traceparent = untraced,
        message_traceparent: MessageTraceparent = untraced_message,
        conduct: Conduct | None = None,
        *,
        apart: Apart | None = None,
    ) -> None:
        self.id = id
        self.inputs: list[Input] = []
        self.head: Head | None = None
        self.attempts: dict[int, Attempt] = {}
        self.in_commit = 0  # transitions handed to the flush and not acknowledged yet
        self._registry = registry
        self._lent = _Lent(draw, traceparent, message_traceparent)
        self._conduct = conduct or Conduct()
        self._sentence = self._conduct.sentence(id)  # why its code must not run at all
        self._broken = ""  # why its replay was broken off
        self.apart = apart  # None: all code runs here
        self._state = RunState()
        self._instance: Instance | None = None
        self._known: Instance | None = None  # as it stood before code and history parted: for queries alone
        self._unapplied = False  # facts are recorded that no code has seen
        self._blocked = ""  # why its code cannot run here (unknown type, history of a newer version)
        self._mail: list[str] = []
        self._facts: list[Event] = []
        self._effects = Effects()
        self._discard: list[str] = []
        self._sent: list[str] = []
        self._outbox: list[bytes] = []
        self._inherited: Inheritance | None = None  # what the run that this turn starts takes over
        self._updates = Updates()
        self._extent = Extent()
        self._notice = False
        self._admits = False
        self.unreadable = ""  # why its history cannot be read; its mail stays in the mailbox
        self.dropped = False  # it parked: of no use once its last turn is committed

    # --- coming and going

    def load(self, loaded: Loaded) -> None:
        """Take over what the store has."""
        if loaded.head is None:
            return
        try:
            self.head = decode_head(loaded.head)
            history = self._extent.read(loaded)
        except HistoryError as error:
            self.unreadable = str(error)
            return
        self.attempts = decode_attempts(loaded.steps)
        self._rebuild(history)
        self._updates.load(self._state)
        if self.closed:
            return
        self._try_other_code()
        for step, open_step in self._state.steps.items():
            self.attempts.setdefault(step, Attempt(scheduled_ms=open_step.at_ms))

    def in_flight(self) -> list[StepTask]:
        """The attempts that were committed to be made, as they were (to be) dispatched."""
        return [
            self._task(self._state.steps[step], attempt.number)
            for step, attempt in self.attempts.items()
            if attempt.next_ms == 0
        ]

    def gave_up(self, step: int) -> bool:
        """Whether the code has cancelled this step: whoever still runs it must hear of that."""
        return step in self._state.cancelled_steps

    def lose(self, step: int, now_ms: int) -> None:
        """Nobody runs the attempt of this step any more."""
        self.inputs.append(self._lost(step, self.attempts[step], now_ms))

    def _rebuild(self, history: Sequence[Event]) -> None:
        """The fold of the history, and the coroutines where this host has the code for them."""
        self._state = RunState()
        self._state.evolve_all(history)
        started = self._state.started
        if started is None:
            return
        saga_type = self._registry.saga(started.type)
        if saga_type is None:
            self._blocked = _no_code(started.type)
            return
        if not self._state.closed and self._runs_apart(saga_type):
            return
        if self._sentence:
            return
        self._conduct.begins(self.id)
        try:
            self._instance = Instance.replay(saga_type, history, self._registry.learn)
        except Blocked as error:
            self._broken = f"{type(error).__name__}: {error}"
        except NondeterminismError as error:
            self._blocked = f"{type(error).__name__}: {error}"
            self._known = known_before(saga_type, history, error)
        except CodecError as error:
            self._blocked = str(error)
        else:
            self._state = self._instance.state
        finally:
            self._conduct.ended()

    def evict(self) -> None:
        """Let the coroutines go."""
        for each in (self._instance, self._known):
            if each is not None:
                each.evict()
        self._instance = self._known = None

    def _runs_apart(self, saga_type: SagaType | None) -> bool:
        """Whether the code of its run does not run here: then it is as if nobody here knew it."""
        if self.apart is None or not self.apart.takes(saga_type) or saga_type is None:
            return False
        asks = shown(saga_type.ray or {})
        self._blocked = f"the code of {saga_type.name!r} waits for a process of its own ({asks})"
        return True

    @property
    def moves(self) -> bool:
        """Whether its process is up: it is to be dropped, and loaded there."""
        return self.apart is not None and self.apart.moves

    @property
    def placed(self) -> SagaType | None:
        """The type of its run, when the code of that does not run here."""
        return None if self.closed or self.apart is None else self.apart.type

    @property
    def held(self) -> bool:
        """Whether its code may not run now: it is parked, or paused."""
        return self._state.still

    @property
    def closed(self) -> bool:
        """Whether there is no run that goes on."""
        return self._state.started is None or self._state.closed

    @property
    def idle(self) -> bool:
        """Whether it may be dropped from memory."""
        return not self.inputs and self.in_commit == 0

    @property
    def run_id(self) -> str:
        """Of the current run, "" before the first."""
        return "" if self._state.started is None else self._state.started.run_id

    def key(self, step: int) -> StepKey:
        """Of a step of the current run."""
        return StepKey(self.id, self.run_id, step)

    # --- a turn

    def turn(self, now_ms: int, *, run: bool = True) -> Turn:
        """Take in what has arrived (up to the start of another run) and make the transition it leads to.

        ``run=False`` records it but runs no code: the next owner's first turn does.
        """
        if (apart := self._apart()) is not None:
            return apart
        now_ms = max(now_ms, self._state.last_ms)
        taken = self._take()
        self._begin()
        queries: list[MailInput] = []
        retried = False
        for each in taken:
            if isinstance(each, MailInput):
                if isinstance(each.message, Query):
                    queries.append(each)
                elif each.report is not None:
                    # Its entry goes with the commit of what it leads to, if it leads to anything.
                    self._discard.append(each.entry)
                    retried |= self._on_report(each.report, now_ms)
                else:
                    self._on_mail(each, now_ms)
            elif isinstance(each, Due):
                retried |= self._on_due(now_ms)
            elif isinstance(each, OtherCode):
                self._facts.append(Resumed("a host with other code", at_ms=now_ms))
            elif isinstance(each, Relayed):
                self._on_relayed(each, now_ms)
            elif isinstance(each, Unplaced | Stranded):
                retried |= self._on_hindrance(each, now_ms)
            elif isinstance(each, Heartbeat):
                retried |= self._on_heartbeat(each)
            else:
                retried |= self._on_report(each, now_ms)
        self._meet_deadline(now_ms)
        inherited = [] if self._inherited is None else self._inherited.events
        position = self._followed_from()
        events, drop = self._advance(now_ms, run)
        follow = self._close(now_ms) if events and self._state.closed else []
        self._settle_updates(events, follow)
        self._answer_or_keep(queries)
        drop = drop or self.moves or (self._instance is not None and self._instance.spoiled)
        transition = self._transition(events, now_ms, bool(follow)) if events or retried or self._mail else None
        return Turn(
            transition=transition,
            effects=self._effects,
            discard=tuple(self._discard),
            sent=tuple(self._sent),
            run=self._state.started,
            position=position,
            events=(*inherited, *events),
            trail=self._state.trail(),
            inputs=tuple(taken),
            drop=drop and not follow,
            following=self._follow_on(follow, now_ms),  # last: nothing is left of this run then
        )

    def _close(self, now_ms: int) -> list[Event]:
        """Whoever waits for the run's end is told of it; returns what the run that follows begins with."""
        follow = succession(self._state, self._instance, now_ms, self._lent.draw)
        self._outbox += [each.encode() for each in farewells(self._state, goes_on=bool(follow))]
        return follow

    def _follow_on(self, facts: list[Event], now_ms: int) -> Turn | None:
        """Begin the run that follows the one that has closed, if one does: recorded now, run when that is durable.

        So a saga that does nothing but continue makes a run a commit, and keeps nobody else from theirs.
        """
        if not facts:
            return None
        started = facts[0]
        assert isinstance(started, RunStarted), "a run begins with its start"
        self._begin()
        self._begin_run(started, self._registry.saga(started.type))
        self._state.follow()
        if self._instance is None:
            self._state.evolve_all(facts)
        else:
            self._instance.record(facts)
        self._unapplied = True
        return Turn(
            transition=self._transition(facts, now_ms),
            effects=self._effects,
            discard=(),
            run=started,
            events=tuple(facts),
            trail=self._state.trail(),
            begins=True,
        )

    def _followed_from(self) -> int:
        """Where in the history what this turn writes begins; the state follows it from there."""
        if self._inherited is not None:  # and did so when it was taken over
            return 0
        self._state.follow()
        return self._state.events

    def _begin(self) -> None:
        """Nothing of the turn before is left."""
        self._mail, self._facts, self._discard, self._notice = [], [], [], False
        self._sent, self._outbox, self._inherited = [], [], None
        self._updates.begin()
        self._effects = Effects()

    def _settle_updates(self, events: Sequence[Event], follow: Sequence[Event]) -> None:
        """Which of their mail was applied is known only now, and who has an answer."""
        moved = {each.message_id for each in follow if isinstance(each, UpdateReceived | UpdateAccepted)}
        self._effects.replies += self._updates.settle(events, self._state, moved)
        self._mail += self._updates.mail
        self._discard += self._updates.discard

    def _apart(self) -> Turn | None:
        """The turn that is none of the run's: it is removed, or nobody can read it."""
        if self.inputs and (order := _deletion_in(self.inputs[0])) is not None:
            return self._delete(order)
        return self._refuse() if self.unreadable else None

    def _delete(self, order: Delete) -> Turn:
        """Of a history that nobody can read, too. A run that goes on, or another than was meant, stays."""
        taken, self.inputs = self.inputs[:1], self.inputs[1:]
        discard = tuple(each.entry for each in taken if isinstance(each, MailInput))
        head = self.head
        if head is None or not head.closed_ms or head.run_id != order.run_id:
            return Turn(None, Effects(), discard)
        gone = removal_of(self.id, order.run_id, head)
        return Turn(None, Effects(), discard, removal=gone, inputs=tuple(taken), drop=True)

    def _refuse(self) -> Turn:
        """Without a readable history nothing can be applied: answer the queries, leave all else in the mailbox."""
        asked = [e for e in self.inputs if isinstance(e, MailInput) and isinstance(e.message, Query | UpdateAsked)]
        taken, self.inputs, self._effects = self.inputs, [], Effects()
        for each in asked:
            if isinstance(each.message, Query):  # an update is asked for again
                self._answer(each.message)
        return Turn(
            None,
            self._effects,
            tuple(each.entry for each in asked),
            refused=tuple(i for i in taken if i not in asked),
        )

    def _take(self) -> list[Input]:
        """The inputs of this turn: what starts another run, or removes one, waits for a turn of its own."""
        for position, each in enumerate(self.inputs):
            if position and isinstance(each, MailInput) and isinstance(each.message, Start | Delete):
                taken, self.inputs = self.inputs[:position], self.inputs[position:]
                return taken
        taken, self.inputs = self.inputs, []
        return taken

    def _advance(self, now_ms: int, run: bool) -> tuple[list[Event], bool]:
        """Run the saga's code over the new facts; returns the events to write, and whether to drop the instance."""
        facts, state = self._facts, self._state
        unapplied = self._instance is not None and self._instance.has_unapplied and not state.closed
        if not facts and not (unapplied and run and not state.still):
            parked = self._park_if_it_cannot_run(now_ms)
            return parked, bool(parked) or bool(self._broken)
        kinds = {type(fact) for fact in facts}
        terminated = RunTerminated in kinds
        lifted = not kinds.isdisjoint((Resumed, CancelRequested, RunForked))
        pausing = Paused in kinds and state.compensation is not Compensation.RUNNING
        held = Parked in kinds or ((state.still or pausing) and not lifted)
        if self._instance is None or terminated or held or not run:
            if terminated:
                self._withdraw_all()
                facts = _ending_last(facts)
            state.evolve_all(facts)
            if (lifted or terminated) and self._sentence:
                self._pardon()
            facts = [*facts, *self._park_if_it_cannot_run(now_ms)]
            # The coroutines have not seen these facts, or there are none: the next input tries anew.
            self._unapplied = True
            return facts, True
        if why := self._extent.too_large(state):
            state.evolve_all(facts)
            return [*facts, self._park(why, now_ms)], True
        open_before = dict(state.steps)
        activation = self._activate(self._instance, facts, now_ms)
        facts, self._updates.rejected = list(activation.facts), activation.rejected
        if activation.broken:
            state.evolve_all(facts)
            self._unapplied = True
            return [*facts, *self._struck(activation.park, now_ms)], True
        if activation.park:
            state.evolve_all(facts)
            return [*facts, self._park(activation.park, now_ms)], True
        if activation.blocked:
            state.evolve_all(facts)
            self._blocked = activation.blocked
            return facts, True
        if not (facts or activation.decisions or unapplied):  # updates that were rejected, and nothing else
            return [], False
        self._unapplied = False
        self._follow(activation.decisions, open_before, now_ms)
        return [*facts, Activated(at_ms=now_ms), *activation.decisions], False

    def _activate(self, instance: Instance, facts: Sequence[Event], now_ms: int) -> Activation:
        self._conduct.begins(self.id)
        activation = instance.activate(facts, now_ms)
        self._conduct.ended(of="" if activation.broken else self.id)
        return activation

    def _park_if_it_cannot_run(self, now_ms: int) -> list[Event]:
        if self.closed or self._state.parked:
            return []
        if self._broken:
            return self._struck(self._broken, now_ms)
        if self._sentence:
            return [self._park(self._sentence, now_ms)]
        return [self._park(self._blocked, now_ms)] if self._blocked.startswith(NondeterminismError.__name__) else []

    def _struck(self, why: str, now_ms: int) -> list[Event]:
        """It did not come to rest: it parks when that has happened too often, else it is loaded and tried again."""
        if self._conduct.struck(self.id):
            return [self._park(why, now_ms)]
        self.inputs.append(Due())
        return []

    def _pardon(self) -> None:
        """An operator wants it to run whatever happens: loaded again, it is."""
        self._sentence = ""
        self._conduct.forgive(self.id)
        self.inputs.append(Due())

    def _code(self) -> str:
        """What this host would run it with, "" when it does not know."""
        started = self._state.started
        saga_type = None if started is None else self._registry.saga(started.type)
        return "" if saga_type is None else fingerprint(saga_type)

    def _try_other_code(self) -> None:
        """Code made it park: an owner with other code tries once; if it parks again, that is by this code."""
        state = self._state
        code = self._code() if state.parked and state.parked_by and not state.paused else ""
        if code and code != state.parked_by:
            self.inputs.append(OTHER_CODE)

    def _park(self, reason: str, now_ms: int) -> Parked:
        parked = Parked(reason, self._code(), at_ms=now_ms)
        self._state.evolve(parked)
        self._notice = True
        return parked

    def _follow(self, decisions: Sequence[Event], open_before: dict[int, OpenStep], now_ms: int) -> None:
        """Side effects and retry state that follow from what the code decided."""
        for decision in decisions:
            if isinstance(decision, StepScheduled | CompensationScheduled):
                self.attempts[decision.step] = Attempt(scheduled_ms=now_ms)
                self._effects.dispatch.append(self._task(decision, 1))
            elif isinstance(decision, StepCancelRequested):
                self._withdraw(decision.step, now_ms)
            elif isinstance(decision, MessageSent | ChildScheduled):
                self._send(decision)
        if self._state.closed:
            self._effects.cancel.extend(self.key(step) for step in open_before if step in self.attempts)
            self._effects.dispatch.clear()
            self.attempts.clear()

    def _send(self, sent: MessageSent | ChildScheduled) -> None:
        """Into the outbox, with the commit that records it: also when the run ends in the same one."""
        assert self._state.started is not None, "saga code runs in a started run"
        trace = self._lent.message_traceparent(self._state.started, self._state.episode.number, sent.number)
        self._outbox.append(envelope_of(self.id, self.run_id, sent, trace).encode())

    # --- messages

    def _on_mail(self, mail: MailInput, now_ms: int) -> None:
        message = mail.message
        if isinstance(message, Start):
            return self._on_start(mail, message, now_ms)
        if isinstance(message, Update | UpdateAsked):
            if self.apart is not None and self.placed is not None:  # a validator must see it before the history does
                return self.apart.keep(mail)
            return self._on_update(mail.entry, message, now_ms)
        if self.closed:
            if self._state.started is not None:  # else its start cannot be read here, and a newer host needs this too
                self._discard.append(mail.entry)
            return None
        assert self._state.started is not None, "an open run was started"
        if is_for_another(message, self._state.started):
            self._discard.append(mail.entry)
        elif isinstance(message, ChildAnswer):
            self._on_child(mail.entry, message, now_ms)
        elif isinstance(message, CallbackAnswered):
            self._on_answer(mail.entry, message, now_ms)
        elif isinstance(message, Redeliver) and not self._lies(message.letter):
            self._discard.append(mail.entry)
        else:
            self._mail.append(mail.entry)
            self._facts.append(_fact_of(message, now_ms))
        return None

    def _on_child(self, entry: str, answer: ChildAnswer, now_ms: int) -> None:
        """A child has ended; one that nobody waits for, or that was told before, is forgotten."""
        number = answer.number
        told = any(isinstance(f, ChildCompleted | ChildFailed) and f.number == number for f in self._facts)
        if answer.run_id != self.run_id or number not in self._state.children or told:
            self._discard.append(entry)
            return
        self._mail.append(entry)
        if number in self._state.messages and not self._is_answered(number):  # the door's answer is still on its way
            self._facts.append(ChildStarted(number, at_ms=now_ms))
        self._facts.append(end_of_child(answer, now_ms))

    def _lies(self, letter: str) -> bool:
        """Whether it is among the dead letters, and nobody is having it applied in this very turn."""
        if any(isinstance(fact, DeadLetterRedelivered) and fact.letter == letter for fact in self._facts):
            return False
        return any(each.message_id == letter for each in self._state.dead_letters)

    def _on_answer(self, entry: str, answer: CallbackAnswered, now_ms: int) -> None:
        fact = fact_of_answer(answer, self._state, self._facts, now_ms)
        if fact is None:
            self._discard.append(entry)
        else:
            self._mail.append(entry)
            self._facts.append(fact)

    def _on_update(self, entry: str, update: Update | UpdateAsked, now_ms: int) -> None:
        if self._state.started is None and isinstance(update, Update):
            return  # its start cannot be read here, and a newer host needs this too
        taken = self._updates.take(entry, update, self._state, now_ms)
        if isinstance(taken, Reply):
            self._effects.replies.append((update.reply_to, taken))
        else:
            self._facts.append(taken)

    def _on_start(self, mail: MailInput, message: Start, now_ms: int) -> None:
        if not self.closed or goes_on_in(message.run_id, self.run_id):
            self._discard.append(mail.entry)
            return None
        if mail.prefix:
            return self._on_fork(mail, message, now_ms)
        saga_type = self._registry.saga(message.type)
        begins_ms = now_ms + message.delay_ms
        started = RunStarted(
            self.id,
            message.run_id,
            message.type,
            message.args,
            message.attributes,
            message.trace,
            message.message_id,
            EPISODES if saga_type is None else saga_type.trace_mode,
            deadline_ms=0 if saga_type is None else saga_type.deadline_ms(begins_ms),
            not_before_ms=begins_ms if message.delay_ms else 0,
            parent=tuple(message.parent),
            seed=message.seed,
            at_ms=now_ms,
        )
        self._begin_run(started, saga_type)
        self._state.started = started  # at once: messages of the same turn belong to this run
        self._admits = True
        self._mail.append(mail.entry)
        self._facts.append(started)

    def _begin_run(self, started: RunStarted, saga_type: SagaType | None) -> None:
        """Nothing is left of the run before."""
        self.evict()
        self._state, self.attempts, self._blocked = RunState(), {}, ""
        self._extent = Extent()
        apart = self._runs_apart(saga_type)
        if saga_type is None:
            self._blocked = _no_code(started.type)
        elif not apart and not self._sentence:
            self._instance = Instance(saga_type, self._registry.learn)
            self._state = self._instance.state

    def _on_fork(self, mail: MailInput, message: Start, now_ms: int) -> None:
        """The run begins where another one stood: what was open there is made again, under its own ids."""
        self.evict()
        self.attempts, self._blocked, self._extent = {}, "", Extent()
        self._inherited = inherit(mail.prefix, message, self.id, now_ms)
        history = self._inherited.events
        self._rebuild(history)
        self._state = RunState()  # as it was rebuilt, but followed from its first event on
        self._state.follow()
        self._state.evolve_all(history)
        if self._instance is not None:
            self._instance.state = self._state
        self._admits = True
        self._mail.append(mail.entry)
        self._facts.append(self._inherited.mark)
        for step, open_step in self._state.steps.items():
            self.attempts[step] = Attempt(scheduled_ms=now_ms)
            self._effects.dispatch.append(self._task(open_step, 1))
        for step in self._state.cancelled_steps:
            self._withdraw(step, now_ms)

    def _answer_or_keep(self, queries: list[MailInput]) -> None:
        if self.apart is not None and self.placed is not None:
            self.apart.keep(*queries)
            return
        for query in queries:
            self._discard.append(query.entry)
            self._answer(query.message)  # type: ignore[arg-type]

    def _answer(self, query: Query) -> None:
        try:
            asked = self._instance or self._known
            if asked is None:
                raise QueryFailed(query.name, "NotRunnable", self._unrunnable or "no such run on this host")
            reply = Reply(message_id=query.message_id, value=asked.ask(query.name, query.args))
        except QueryFailed as error:
            reply = Reply(message_id=query.message_id, error=(error.cause_type, error.message))
        self._effects.replies.append((query.reply_to, reply))

    @property
    def _unrunnable(self) -> str:
        """Why its code cannot run here."""
        return self.unreadable or self._blocked or self._sentence or self._broken

    # --- timers, retries, results

    def _on_due(self, now_ms: int) -> bool:
        if self.closed:
            return False
        # Nothing due and nothing on its way: the entry in the timer set is stale, so write the true one.
        stale = self.in_commit == 0
        if self._state.held:
            return stale
        due = self._state.due_timers(now_ms)
        self._facts.extend(TimerFired(timer, at_ms=now_ms) for timer in due)
        retried = stale and not due
        for step, attempt in self.attempts.items():
            if attempt.next_ms and attempt.next_ms <= now_ms:
                attempt.next_ms, attempt.queued_ms, retried = 0, now_ms, True
                self._effects.dispatch.append(self._task(self._state.steps[step], attempt.number))
        return retried

    def _meet_deadline(self, now_ms: int) -> None:
        """A deadline that passed while it was held: in the activation that resumes it, whose code may hold it again."""
        if not self._state.held or DEADLINE not in self._state.due_timers(now_ms):
            return
        if any(isinstance(fact, Resumed) for fact in self._facts):
            self._facts.append(TimerFired(DEADLINE, at_ms=now_ms))

    def _on_report(self, report: StepReport, now_ms: int) -> bool:
        """A late or repeated report (of another run, a settled step, an earlier attempt) is dropped."""
        open_step = self._state.steps.get(report.step)
        attempt = self.attempts.get(report.step)
        if open_step is None or attempt is None or report.run_id != self.run_id or self._settles(report.step):
            return False
        if report.attempt != attempt.number or attempt.next_ms:
            return False
        attempt.started_ms = report.started_ms
        if report.result is not None:
            del self.attempts[report.step]
            self._facts.append(_completed(open_step, attempt, report.result, now_ms))
            return False
        assert report.failure is not None, "a report has a result or a failure"
        attempt.heartbeat = report.heartbeat or attempt.heartbeat
        return self._on_failure(open_step, attempt, report.failure, now_ms, never_ran=report.never_ran)

    def _on_heartbeat(self, heartbeat: Heartbeat) -> bool:
        """Whether it says something new of an attempt in flight: one of its predecessors' may come late."""
        attempt = self.attempts.get(heartbeat.step)
        if attempt is None or heartbeat.run_id != self.run_id or attempt.next_ms:
            return False
        if heartbeat.attempt != attempt.number or heartbeat.details == attempt.heartbeat:
            return False
        attempt.heartbeat = heartbeat.details
        return True

    def _on_relayed(self, relayed: Relayed, now_ms: int) -> None:
        """A run that has ended, or has heard it already, needs no answer; the outbox needs the entry no more."""
        self._sent.append(relayed.entry)
        number = relayed.number
        sent = self._state.messages.get(number)
        if relayed.run_id != self.run_id or sent is None or self._is_answered(number):
            return
        if isinstance(sent, ChildScheduled) and relayed.delivered:
            self._facts.append(ChildStarted(number, at_ms=now_ms))
        elif isinstance(sent, ChildScheduled):
            self._facts.append(ChildRefused(number, relayed.met, relayed.status, at_ms=now_ms))
        elif relayed.delivered:
            self._facts.append(MessageDelivered(number, at_ms=now_ms))
        else:
            reason = CLOSED if relayed.status else NOT_FOUND
            self._facts.append(MessageRefused(number, reason, relayed.status, at_ms=now_ms))

    def _is_answered(self, number: int) -> bool:
        """Whether the answer to a message is among the facts of this turn."""
        return any(isinstance(fact, _ANSWERS) and fact.number == number for fact in self._facts)

    def _on_hindrance(self, said: Unplaced | Stranded, now_ms: int) -> bool:
        """Of a step: kept beside its attempt, for whoever asks what the instance waits for."""
        if isinstance(said, Stranded):
            if self.placed is not None and not self._state.held:
                self._facts.append(Parked(said.why, at_ms=now_ms))
                self._notice = True
            return False
        attempt = self.attempts.get(said.key.step)
        if attempt is None or said.key.run_id != self.run_id or attempt.number != said.attempt or attempt.next_ms:
            return False
        changed, attempt.unplaced = attempt.unplaced != said.why, said.why
        return changed

    def _settles(self, step: int) -> bool:
        return any(getattr(fact, "step", None) == step for fact in self._facts)

    def _on_failure(
        self, open_step: OpenStep, attempt: Attempt, failure: Failure, now_ms: int, *, never_ran: bool
    ) -> bool:
        attempt.remember(failure, now_ms)
        if open_step.step in self._state.cancelled_steps:
            failure = Failure.cancelled(failure.outcome)
        elif failure.kind == CANCELLED:  # nobody asked: the activity raised it by itself
            failure = replace(failure, kind=ERROR)
        verdict = after_failure(
            self._options(open_step), attempt, failure, now_ms, self._lent.draw(), never_ran=never_ran
        )
        if isinstance(verdict, RetryAt | Park):
            attempt.number += 1
            attempt.unplaced = ""
            attempt.next_ms = max(1, verdict.at_ms if isinstance(verdict, RetryAt) else now_ms)
            if isinstance(verdict, Park):
                times = f"step {open_step.activity!r} failed {attempt.failed} times, the last time with"
                self._facts.append(Parked(f"{times} {failure.cause_type}: {failure.message}", at_ms=now_ms))
                self._notice = True
            return True
        del self.attempts[open_step.step]
        self._facts.append(_failed(open_step, attempt, verdict.failure, now_ms))
        self._notice |= isinstance(open_step, CompensationScheduled)  # it is stuck: whoever waits must hear of it
        return False

    def _withdraw(self, step: int, now_ms: int) -> None:
        """The code gave a step up: stop the attempt that runs; one that waits for its next try ends here."""
        attempt = self.attempts.get(step)
        if attempt is None:
            return
        scheduled_now = any(task.step == step for task in self._effects.dispatch)
        if not attempt.next_ms and not scheduled_now:
            self._effects.cancel.append(self.key(step))
            return
        self._effects.dispatch = [task for task in self._effects.dispatch if task.step != step]
        outcome = Outcome.UNKNOWN if attempt.maybe_done else Outcome.NONE
        attempt.next_ms = 0
        self.inputs.append(self._report(step, attempt, Failure.cancelled(outcome), now_ms))

    def _withdraw_all(self) -> None:
        self._effects.cancel.extend(self.key(step) for step in self.attempts)
        self.attempts.clear()

    def _lost(self, step: int, attempt: Attempt, now_ms: int) -> StepReport:
        return self._report(step, attempt, Failure.lost("its worker or host is gone"), now_ms)

    def _report(self, step: int, attempt: Attempt, failure: Failure, now_ms: int) -> StepReport:
        return StepReport(self.id, self.run_id, step, attempt.number, None, failure, now_ms, now_ms)

    def _options(self, open_step: OpenStep) -> StepOptions:
        activity = self._registry.activity(open_step.activity)
        return (StepOptions() if activity is None else activity.defaults).merged(open_step.options)

    def _task(self, open_step: OpenStep, attempt: int) -> StepTask:
        options, stands = self._options(open_step), self.attempts[open_step.step]
        queue_until_ms = total_until_ms = None
        if options.queue_timeout_ms is not None:
            queue_until_ms = (stands.queued_ms or stands.scheduled_ms) + options.queue_timeout_ms
        if options.total_timeout_ms is not None:
            total_until_ms = stands.scheduled_ms + options.total_timeout_ms
        return StepTask(
            self.id,
            self.run_id,
            open_step.step,
            attempt,
            open_step.activity,
            open_step.args,
            options.queue,
            options.timeout_ms,
            open_step.undo_of if isinstance(open_step, CompensationScheduled) else 0,
            options.priority,
            "" if self._state.started is None else self._state.started.type,
            options.local,
            "attempt",
            options.retry.max_attempts == 1,
            self._trace_of(open_step.step, attempt),
            options.ray,
            queue_until_ms,
            options.heartbeat_timeout_ms,
            stands.heartbeat,
            total_until_ms,
        )

    def _trace_of(self, step: int, attempt: int) -> str:
        started = self._state.started
        return "" if started is None else self._lent.traceparent(started, self._state.episode.number, step, attempt)

    # --- what is written

    def _transition(self, events: Sequence[Event], now_ms: int, followed: bool = False) -> Transition:
        """``followed``: mail that the run does not know is the next one's, and there is no result to be told of."""
        state = self._state
        closes = state.closed and not followed
        version = self._extent.chunks
        chunk, blobs = self._extent.write(events, state, now_ms) if events else (None, ())
        if chunk is not None and self._inherited is not None:
            chunk, blobs = self._extent.take_over(self._inherited.chunks, chunk, blobs)
        before, self.head = self.head, self._make_head(now_ms)
        admits, self._admits = self._admits, False
        return Transition(
            id=self.id,
            run_id=self.run_id,
            version=version,
            chunk=chunk,
            head=encode_head(self.head),
            timer_ms=None if state.held else self._next_ms(),
            busy=self._needs_an_owner(),
            steps=encode_attempts(self.attempts),
            mail=tuple(self._mail),
            admitted=admits,
            closes=closes,
            index=index_changes(before, self.head),
            outbox=tuple(self._outbox),
            notice=notice_of(self.id, self.run_id) if closes or self._notice else b"",
            expires_ms=self._expires_ms(now_ms) if state.closed else None,
            blobs=blobs,
            displaces=before.run_id if before is not None and before.run_id != self.run_id else "",
        )

    def _expires_ms(self, now_ms: int) -> int | None:
        """When the run that ends now may be removed."""
        assert self._state.started is not None, "only a started run ends"
        saga_type = self._registry.saga(self._state.started.type)
        kept_ms = retention_ms(RETENTION_DAYS) if saga_type is None else saga_type.retention_ms
        return None if kept_ms is None else now_ms + kept_ms

    def _needs_an_owner(self) -> bool:
        """Whether a new owner must look at it: steps are in flight, code is missing, or other code may mend it."""
        state = self._state
        if state.closed:
            return False
        if state.parked and state.still:
            return state.parked_by != ""
        in_flight = any(attempt.next_ms == 0 for attempt in self.attempts.values())
        unseen = self._unapplied or (self._instance is not None and self._instance.has_unapplied)
        return in_flight or ((self._blocked != "" or unseen) and not state.still)

    def _next_ms(self) -> int | None:
        retries = [attempt.next_ms for attempt in self.attempts.values() if attempt.next_ms]
        timer = self._state.next_timer_ms
        return min([*retries, timer] if timer is not None else retries, default=None)

    def _make_head(self, now_ms: int) -> Head:
        state = self._state
        started = state.started
        assert started is not None, "only a started run is written"
        return head_of(
            state,
            started,
            version=self._extent.chunks,
            parked_timer_ms=(self._next_ms() or 0) if state.held else 0,
            waiting=self._waiting(),
            closed_ms=now_ms if state.closed else 0,
            blobs=self._extent.blobs,
        )

    def _waiting(self) -> tuple[tuple[str, str, int], ...]:
        """What it waits for, in words an operator can act on: (kind, what, since or due)."""
        state = self._state
        if state.closed or state.parked:
            return ()
        if self._blocked:
            return ((CODE, self._blocked, state.last_ms),)
        waits = [
            ("step", standing(step.activity, self.attempts.get(number)), step.at_ms)
            for number, step in state.steps.items()
        ]
        sent = (message for message in state.messages.values() if isinstance(message, MessageSent))
        waits += [("delivery", message.target, message.at_ms) for message in islice(sent, MOST_NAMED)]
        waits += [("child", child.id, child.at_ms) for child in islice(state.children.values(), MOST_NAMED)]
        waits += [("callback", f"number {number}", opened.at_ms) for number, opened in state.callbacks.items()]
        due = state.next_wake_ms
        if due is not None:
            waits.append(("timer", "", due))
        if self._instance is not None and self._instance.awaits_condition:
            waits.append(("message", "", state.last_ms))
        return tuple(waits) or (("message", "", state.last_ms),)


def _ending_last(facts: Sequence[Event]) -> list[Event]:
    """A run ends once, and with its last event: whoever asks for the result looks there."""
    endings = [fact for fact in facts if isinstance(fact, RunTerminated)]
    return [*(fact for fact in facts if not isinstance(fact, RunTerminated)), endings[0]]


def _deletion_in(each: Input) -> Delete | None:
    return each.message if isinstance(each, MailInput) and isinstance(each.message, Delete) else None


def _no_code(saga_type: str) -> str:
    return f"no host here knows saga type {saga_type!r}: start one with the module that declares it"


def _fact_of(message: Message, now_ms: int) -> Event:
    match message:
        case Signal():
            return SignalReceived(message.message_id, message.name, message.args, message.trace, at_ms=now_ms)
        case Cancel():
            return CancelRequested(message.reason, message.message_id, at_ms=now_ms)
        case Terminate():
            return RunTerminated(message.reason, message.message_id, message.successor, at_ms=now_ms)
        case Resume():
            return Resumed(message.by, message.message_id, at_ms=now_ms)
        case Pause():
            return Paused(message.by, message.message_id, at_ms=now_ms)
        case Redeliver():
            return DeadLetterRedelivered(message.letter, message.by, message.message_id, at_ms=now_ms)
    raise AssertionError(f"{type(message).__name__} is no fact")


def _completed(open_step: OpenStep, attempt: Attempt, result: bytes, now_ms: int) -> Event:
    if isinstance(open_step, CompensationScheduled):
        return CompensationCompleted(open_step.step, attempt.number, attempt.errors, attempt.started_ms, at_ms=now_ms)
    return StepCompleted(open_step.step, attempt.number, result, attempt.errors, attempt.started_ms, at_ms=now_ms)


def _failed(open_step: OpenStep, attempt: Attempt, failure: Failure, now_ms: int) -> Event:
    kind: Any = CompensationFailed if isinstance(open_step, CompensationScheduled) else StepFailed
    errors, started_ms = attempt.errors, attempt.started_ms
    event: Event = kind(open_step.step, attempt.number, failure.row(), errors, started_ms, at_ms=now_ms)
    return event
