"""Admission in memory: the same decisions as ``lua/enqueue.lua``, in the same order."""

from __future__ import annotations

from sagas.store.memory_shard import MemoryShard
from sagas.store.port import Admission, AdmissionVerdict, Admitted, OnReuse, Origin, Status

_REFUSED = (AdmissionVerdict.ALREADY_STARTED, AdmissionVerdict.NOT_FOUND, AdmissionVerdict.CLOSED)


def admit(shard: MemoryShard, admission: Admission, now_ms: int, mailbox_limit: int) -> Admitted:
    """Decide, remember the message id and put the mail into the mailbox."""
    door = _Door(shard, admission, now_ms, mailbox_limit)
    return door.admit() if admission.origin is None else door.relay(admission.origin)


class _Door:
    """One admission while it is decided."""

    __slots__ = ("_admission", "_limit", "_now_ms", "_shard")

    def __init__(self, shard: MemoryShard, admission: Admission, now_ms: int, limit: int) -> None:
        self._shard = shard
        self._admission = admission
        self._now_ms = now_ms
        self._limit = limit

    def relay(self, origin: Origin) -> Admitted:
        last, answer = self._shard.sources.get(origin.shard, (None, None))
        if last is not None and answer is not None and origin <= last:
            if origin < last:
                return Admitted(verdict=AdmissionVerdict.KNOWN, run_id=self._known() or "")
            if answer.verdict in _REFUSED:
                return answer
            return Admitted(verdict=AdmissionVerdict.KNOWN, run_id=answer.run_id, status=answer.status)
        answer = self.admit()
        if answer.verdict is not AdmissionVerdict.OVERLOADED:
            self._shard.sources[origin.shard] = (origin, answer)
        return answer

    def admit(self) -> Admitted:
        message = self._admission
        known = self._known()
        if known is not None:
            return Admitted(verdict=AdmissionVerdict.KNOWN, run_id=known)
        current, status = self._shard.current_run(message.id) or ("", Status.RUNNING)
        match message.kind:
            case "start":
                return self._start(current, status)
            case "start_or_message" if current and status is Status.RUNNING:
                return self._accept(current, status, message.mail)
            case "start_or_message":
                return self._start_anew(current, status, message.start_mail, message.mail)
            case _ if not current:
                return Admitted(verdict=AdmissionVerdict.NOT_FOUND)
            case "read":
                return self._accept(current, status, message.mail)
            case "message":
                return self._to_run(current, status)

    def _start(self, current: str, status: Status) -> Admitted:
        message = self._admission
        if current and current == message.run_id:
            return Admitted(verdict=AdmissionVerdict.KNOWN, run_id=current, status=status)
        if not current or status is not Status.RUNNING:
            return self._start_anew(current, status, message.mail)
        match message.on_conflict:
            case "use_existing":
                self._remember(current)
                return Admitted(verdict=AdmissionVerdict.EXISTING, run_id=current)
            case "terminate_existing":
                return self._accept_run(message.terminate_mail, message.mail)
            case "fail":
                return Admitted(verdict=AdmissionVerdict.ALREADY_STARTED, run_id=current)

    def _start_anew(self, current: str, status: Status, *bodies: bytes) -> Admitted:
        if current and not _may_reuse(self._admission.on_reuse, status):
            return Admitted(verdict=AdmissionVerdict.ALREADY_STARTED, run_id=current, status=status)
        return self._accept_run(*bodies)

    def _to_run(self, current: str, status: Status) -> Admitted:
        message = self._admission
        if message.run_id and message.run_id != current:
            existed = (message.id, message.run_id) in self._shard.histories
            verdict = AdmissionVerdict.CLOSED if existed else AdmissionVerdict.NOT_FOUND
            return Admitted(verdict=verdict, run_id=current, status=status)
        if status is not Status.RUNNING:
            return Admitted(verdict=AdmissionVerdict.CLOSED, run_id=current, status=status)
        return self._accept(current, status, message.mail)

    def _accept_run(self, *bodies: bytes) -> Admitted:
        answer = self._accept(self._admission.run_id, Status.RUNNING, *bodies)
        if answer.verdict is AdmissionVerdict.OK:
            self._shard.admitted[self._admission.id] = self._admission.run_id
        return answer

    def _accept(self, run_id: str, status: Status, *bodies: bytes) -> Admitted:
        if len(self._shard.mailbox) >= self._limit:
            return Admitted(verdict=AdmissionVerdict.OVERLOADED, run_id=run_id, status=status)
        for body in bodies:
            self._shard.mailbox.add(self._admission.id, body, self._now_ms)
        self._remember(run_id)
        return Admitted(verdict=AdmissionVerdict.OK, run_id=run_id, status=status)

    def _known(self) -> str | None:
        return self._shard.known.run_of(self._admission.id, self._admission.message_id, self._now_ms)

    def _remember(self, run_id: str) -> None:
        message = self._admission
        self._shard.known.remember(message.id, message.message_id, run_id, self._now_ms, message.remember_ms)


def _may_reuse(on_reuse: OnReuse, status: Status) -> bool:
    return on_reuse == "allow" or (on_reuse == "allow_failed" and status is not Status.COMPLETED)
