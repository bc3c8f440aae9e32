"""The token of a callback: text that names it, safe in a URL, and that nobody can make who was not given it.

Law: id, run and number are there to find the callback; the secret, 128 random bits in its run's history, is what a
token is believed for. The checksum only tells a token that was garbled on its way from one of another callback.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

import msgpack

from sagas.errors import InvalidArgument, SagaError
from sagas.ids import check_id

SECRET_BYTES = 16
_CHECK_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token says."""

    id: str
    run_id: str
    number: int
    secret: bytes

    def text(self) -> str:
        """As it is given away: letters, digits, ``-`` and ``_``, a letter first (``-`` begins options of commands)."""
        packed: bytes = msgpack.packb((self.id, self.run_id, self.number, self.secret))
        return base64.urlsafe_b64encode(packed + _check(packed)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Token:
        """The typed form. Raises: InvalidArgument when it is no token, or not a whole one."""
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            packed, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
            if check != _check(packed):
                raise ValueError("its checksum is another")
            id, run_id, number, secret = msgpack.unpackb(packed)
            if not (isinstance(run_id, str) and type(number) is int and isinstance(secret, bytes)):
                raise ValueError("it names no callback")
            return cls(id=check_id(id), run_id=run_id, number=number, secret=secret)
        except (ValueError, TypeError, binascii.Error, msgpack.UnpackException, SagaError) as error:
            raise not_a_token() from error


def not_a_token() -> InvalidArgument:
    """Words that tell a stranger nothing of the callbacks there are."""
    return InvalidArgument("this is no token of a callback here: give the whole text of `sagas.callback().token`")


def _check(packed: bytes) -> bytes:
    return hashlib.sha256(packed).digest()[:_CHECK_BYTES]
