"""How somebody outside answers a callback: the token is checked, the door takes one answer, the history says whose.

Law: an answer is durable when the call returns, whether or not a host is up. The door knows a callback's answers by one
message id made of its secret, so that of any number of them, sent at once from anywhere, exactly one is taken.
"""

from __future__ import annotations

from sagas.access import Access
from sagas.calls import call_message_id
from sagas.ending import CLOSINGS, status_of
from sagas.engine.message import CallbackAnswered, encode_message
from sagas.errors import CallbackDone, SagaClosed
from sagas.kernel.events import CallbackCompleted, CallbackFailed, CallbackOpened, Event
from sagas.kernel.failure import ERROR, Failure, told
from sagas.kernel.token import Token, not_a_token
from sagas.payloads import encode
from sagas.store.port import Admission, AdmissionVerdict, Admitted
from sagas.telemetry.caller import current_traceparent


async def complete(access: Access, text: str, value: object, message_id: str | None) -> Admitted:
    """Give the callback its value. Raises: as ``Client.complete`` does."""
    return await _answer(access, text, message_id, result=encode(value))


async def fail(access: Access, text: str, error: str | BaseException, message_id: str | None) -> Admitted:
    """Say that it failed. Raises: as ``Client.fail`` does."""
    if isinstance(error, BaseException):
        failure = Failure.of(error)
    else:
        failure = Failure(kind=ERROR, cause_type="Failed", message=told(Exception(error)))
    return await _answer(access, text, message_id, failure=failure.row())


async def _answer(
    access: Access, text: str, message_id: str | None, *, result: bytes = b"", failure: tuple[object, ...] = ()
) -> Admitted:
    token = Token.parse(text)
    answer = CallbackAnswered(
        message_id=call_message_id(message_id),
        trace=current_traceparent(),
        run_id=token.run_id,
        number=token.number,
        secret=token.secret,
        result=result,
        failure=failure,
    )
    if _is_recorded(token, await access.history(token.id, token.run_id), answer.message_id):
        return Admitted(verdict=AdmissionVerdict.KNOWN, run_id=token.run_id)
    admitted, certain = await access.admit_certainly(
        Admission(
            id=token.id,
            kind="message",
            message_id=f"callback:{token.secret.hex()}",
            mail=encode_message(answer),
            run_id=token.run_id,
        )
    )
    if admitted.verdict is AdmissionVerdict.KNOWN:
        recorded = _is_recorded(token, await access.history(token.id, token.run_id), answer.message_id)
        if not recorded and certain and message_id is None:
            raise CallbackDone(token.id, token.number)
    return admitted


def _is_recorded(token: Token, history: list[Event], message_id: str) -> bool:
    """Whether this very answer is in the history; False when none is, and one may be given.

    Raises: InvalidArgument when the token was never given away; CallbackDone; SagaClosed.
    """
    opened = [e for e in history if isinstance(e, CallbackOpened) and e.number == token.number]
    if not opened or opened[0].secret != token.secret:
        raise not_a_token()
    for event in history:
        if isinstance(event, CallbackCompleted | CallbackFailed) and event.number == token.number:
            if event.message_id == message_id:
                return True
            raise CallbackDone(token.id, token.number)
    if isinstance(history[-1], CLOSINGS):
        raise SagaClosed(token.id, status_of(history[-1]))
    return False
