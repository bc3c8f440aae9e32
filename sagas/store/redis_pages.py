"""A page of an index over all shards, and the cursor that leads to the next.

Law: a cursor is ``"<shard>"`` (from its start) or ``"<shard>:<ZSCAN cursor>"``, opaque to callers. A page takes as many
whole shards as fit; a shard that alone is more than a page is walked by ZSCAN, which never loses an id that stays.
"""

from __future__ import annotations

from sagas.errors import InvalidArgument
from sagas.store.keys import Keys
from sagas.store.port import SHARDS
from sagas.store.redis_line import Line

PAGE = 1000


async def page_of(line: Line, keys: Keys, index: str, cursor: str) -> tuple[list[str], str]:
    """Ids and the next cursor, "" at the end. Raises InvalidArgument for a cursor that no page gave."""
    shard, within = _parsed(cursor)
    if within:
        return await _part_of_shard(line, keys, index, shard, within)
    sizes = await line.calls([("ZCARD", keys.index(number, index)) for number in range(shard, SHARDS)])
    end, total = shard, 0
    while end < SHARDS and total + sizes[end - shard] <= PAGE:
        total += sizes[end - shard]
        end += 1
    if end == shard:
        return await _part_of_shard(line, keys, index, shard, "0")
    whole = [number for number in range(shard, end) if sizes[number - shard]]
    pages = await line.calls([("ZRANGE", keys.index(number, index), 0, -1) for number in whole])
    return [id.decode() for page in pages for id in page], _cursor(end)


async def _part_of_shard(line: Line, keys: Keys, index: str, shard: int, within: str) -> tuple[list[str], str]:
    following, flat = await line.call("ZSCAN", keys.index(shard, index), within, "COUNT", PAGE)
    found = [id.decode() for id in flat[::2]]
    return found, _cursor(shard + 1) if following == b"0" else f"{shard}:{following.decode()}"


def _cursor(shard: int) -> str:
    return str(shard) if shard < SHARDS else ""


def _parsed(cursor: str) -> tuple[int, str]:
    shard, _, within = cursor.partition(":")
    if cursor and not (shard.isdecimal() and int(shard) < SHARDS and (within.isdecimal() or ":" not in cursor)):
        raise InvalidArgument(f"{cursor!r} is no cursor: pass on what the page before gave, or '' to begin")
    return int(shard or 0), within
