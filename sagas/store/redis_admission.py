"""An admission on the wire: the keys and arguments of ``lua/enqueue.lua``, and its reply."""

from __future__ import annotations

from sagas.store.keys import Keys, shard_of
from sagas.store.port import Admission, AdmissionVerdict, Admitted, Status
from sagas.store.redis_line import Reply

_VERDICTS = (
    AdmissionVerdict.OK,
    AdmissionVerdict.KNOWN,
    AdmissionVerdict.EXISTING,
    AdmissionVerdict.ALREADY_STARTED,
    AdmissionVerdict.NOT_FOUND,
    AdmissionVerdict.CLOSED,
    AdmissionVerdict.OVERLOADED,
)


def keys_of(admission: Admission, keys: Keys) -> tuple[str, ...]:
    id, shard = admission.id, shard_of(admission.id)
    return (
        keys.mailbox(shard),
        keys.admitted(shard),
        keys.head(id),
        keys.message(id, admission.message_id),
        keys.history(id, admission.run_id),
        keys.sources(shard),
    )


def arguments_of(admission: Admission, mailbox_limit: int) -> tuple[object, ...]:
    origin = admission.origin
    relayed = () if origin is None else (origin.shard, origin.counter, origin.sequence, origin.index)
    return (
        admission.id,
        admission.kind,
        admission.run_id,
        admission.mail,
        admission.start_mail,
        admission.terminate_mail,
        admission.on_conflict,
        admission.on_reuse,
        admission.remember_ms,
        mailbox_limit,
        *relayed,
    )


def admitted_of(reply: Reply) -> Admitted:
    code, run_id, status = reply
    return Admitted(verdict=_VERDICTS[code], run_id=run_id.decode(), status=Status(status))
