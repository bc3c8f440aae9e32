"""What may be the id of an instance or of a message."""

from __future__ import annotations

import unicodedata
import uuid

from sagas.errors import InvalidArgument

MAX_ID_BYTES = 512


def check_id(id: str) -> str:
    """The id, if it can be one: 1 to 512 bytes of UTF-8 without control characters.

    Raises: InvalidArgument.
    """
    if not isinstance(id, str) or not id:
        raise InvalidArgument("a saga id is a non-empty str; leave id out to get a random one")
    try:
        size = len(id.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"the saga id {id!r} holds a lone surrogate and is no valid Unicode text") from None
    if size > MAX_ID_BYTES:
        raise InvalidArgument(
            f"the saga id {id[:40]!r}... has {size} bytes, at most {MAX_ID_BYTES} are allowed; hash it"
        )
    if odd := [character for character in id if unicodedata.category(character) == "Cc"]:
        raise InvalidArgument(f"the saga id {id!r} holds the control character {odd[0]!r}; ids are text without any")
    return id


def new_message_id(given: str | None) -> str:
    """The message id a caller gave, checked, or a random one. Raises: InvalidArgument."""
    if given is None:
        return uuid.uuid4().hex
    if not given or len(given.encode()) > MAX_ID_BYTES:
        raise InvalidArgument(f"a message_id has 1 to {MAX_ID_BYTES} bytes; leave it out to get a random one")
    return given
