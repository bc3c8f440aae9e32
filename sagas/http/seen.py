"""Whether a request under a known idempotency key is the one that was taken, as far as what is durable can tell.

Law: the store alone decides that a key is taken once. This module only looks afterwards, to tell a client that reuses a
key for another request so, instead of letting it believe that the other one was taken.
"""

from __future__ import annotations

from sagas.http.key import HEADER, RequestKey
from sagas.http.problem import KEY_REUSED, Refused
from sagas.kernel.events import decode_chunk
from sagas.store.port import AdmissionVerdict, Admitted, Store

_LOOK_BACK = 500
"""Transitions of a history that are searched, from its end: a request that is sent again is seldom an old one."""


async def has_begun(store: Store, id: str, key: RequestKey) -> bool:
    """Whether the run of this very request is in the store, however long ago it was started.

    After the store has forgotten the message, a second start under the same run id would harm the first one's history.
    """
    return key.given and bool(await store.history(id, key.run_id, -1))


async def require_same(store: Store, id: str, key: RequestKey, admitted: Admitted) -> None:
    """Raises: Refused when the message that was taken under this key came with another body."""
    if admitted.verdict is not AdmissionVerdict.KNOWN:
        return
    if key.began(admitted.run_id):
        same = not key.began_by_another(admitted.run_id)
    else:
        same = await _recorded(store, id, key, admitted.run_id) in (None, key.mail_id)
    if not same:
        raise Refused(
            KEY_REUSED,
            f"A request with this {HEADER} and another content was taken before, and this one was not. Use a new key "
            "for a new request.",
            id=id,
            run_id=admitted.run_id,
        )


async def _recorded(store: Store, id: str, key: RequestKey, run_id: str) -> str | None:
    """The id of the message that the run's history has under this key; None when it is not there (yet)."""
    for chunk in reversed(await store.history(id, run_id, -_LOOK_BACK)):
        for event in decode_chunk(chunk):
            message_id: str = getattr(event, "message_id", "")
            if message_id.startswith(key.message_id):
                return message_id
    return None
