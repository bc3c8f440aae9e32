"""What the saga asks of the world: accounts, cards, charges and mails, each under the step's idempotency key.

Law: an answer that says "refused" is a ``Rejected`` (nothing happened); no answer, or a failure, is an ordinary error
and is tried again under the same key, so that a charge whose answer got lost is not made twice.
"""

from __future__ import annotations

import enum
import http
from datetime import timedelta
from typing import Any

import sagas
from examples.subscription import wire
from examples.subscription.ledger import Op
from sagas import Permanent, Rejected, Retry, activity

RETRY = Retry(initial=0.2, backoff=2.0, max_interval=5.0)
"""For ever: the services come back, and a step that waits for them too long shows in ``client.attention()``."""

TIMEOUT = timedelta(seconds=10)
"""Of one attempt. The wire gives up long before; this is for a worker that hangs."""


class Mail(enum.StrEnum):
    WELCOME = "welcome"
    THANK_YOU = "thank you"
    FIX_CARD = "fix your card"
    GOODBYE = "goodbye"


class CardRefused(Rejected):
    """The card cannot be used at all."""


class CardDeclined(Rejected):
    """The card did not pay this time."""


class AccountRefused(Rejected):
    """The account cannot be made: there is one, or this very request was undone before it came."""


class ServiceFailed(Exception):
    """The services answered that they failed; whether they did anything is unknown."""


class BadRequest(Permanent):
    """The services do not understand what is asked; trying again cannot help."""


@activity(retry=RETRY, timeout=TIMEOUT)
def create_account(service: str, user: str) -> str:
    """Makes the user's account; its id."""
    return _ask(service, Op.CREATE_ACCOUNT, AccountRefused, user=user)


@create_account.compensation
def remove_account(account: str | None, service: str, user: str) -> None:
    """Undoes ``create_account``; also when nobody knows whether it was done."""
    _ask(service, Op.REMOVE_ACCOUNT, AccountRefused, undo_of=sagas.step().undo_of or "", user=user)


@activity(retry=RETRY, timeout=TIMEOUT)
def close_account(service: str, user: str) -> None:
    """Removes the account of a user who leaves."""
    _ask(service, Op.REMOVE_ACCOUNT, AccountRefused, user=user)


@activity(retry=RETRY, timeout=TIMEOUT)
def check_card(service: str, user: str) -> None:
    """Raises: CardRefused."""
    _ask(service, Op.CHECK_CARD, CardRefused, user=user)


@activity(retry=RETRY, timeout=TIMEOUT)
def charge(service: str, user: str, month: int, cents: int) -> str:
    """Charges one month; the receipt. Raises: CardDeclined."""
    return _ask(service, Op.CHARGE, CardDeclined, user=user, month=month, cents=cents)


@activity(retry=RETRY, timeout=TIMEOUT)
def send_mail(service: str, user: str, subject: Mail) -> None:
    """Sends one mail."""
    _ask(service, Op.MAIL, AccountRefused, user=user, detail=subject.value)


def _ask(service: str, op: Op, refusal: type[Rejected], *, undo_of: str = "", **fields: Any) -> str:
    """The answer of the services. Raises: ``refusal``, BadRequest, ServiceFailed, or what the wire raises."""
    status, text = wire.ask(service, op, sagas.step().idempotency_key, undo_of=undo_of, **fields)
    match status:
        case http.HTTPStatus.OK:
            return text
        case http.HTTPStatus.PAYMENT_REQUIRED | http.HTTPStatus.CONFLICT:
            raise refusal(text)
        case http.HTTPStatus.BAD_REQUEST | http.HTTPStatus.NOT_FOUND:
            raise BadRequest(text)
        case _:
            raise ServiceFailed(f"{op}: {status} {text}")
