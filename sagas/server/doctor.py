"""Look at a Redis before trusting it with sagas: ``sagas doctor``, and the check at every start.

Law: it only reads. What the facts mean is decided in ``rules.py``; this module fetches them and says clearly when it
cannot. It looks at the server that the URL names: on a cluster or behind Sentinel ask each node.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from sagas.errors import InvalidArgument, StoreUnavailable, UnsafeStore
from sagas.server.rules import CONFIG_NAMES, Facts, Finding, Mode, judge
from sagas.server.url import redact, without_option

if TYPE_CHECKING:
    from redis.asyncio import Redis

_TIMEOUT_S = 5.0


async def examine(url: str, mode: Mode = "strict") -> list[Finding]:
    """Everything the doctor has to say about the server at ``url``, good and bad; nothing is raised for bad.

    Raises: StoreUnavailable when it cannot be reached, asks for another password, or is still loading its data;
    InvalidArgument when ``url`` is no Redis URL.
    """
    async with _connected(url) as redis:
        facts = await _facts(redis, url)
    if isinstance(facts, Finding):
        return [facts]
    return judge(facts, mode)


async def require_safe(url: str, mode: Mode = "strict") -> list[Finding]:
    """The warnings about the server at ``url``, once nothing in it is to be refused.

    Raises: UnsafeStore that lists every refusal with its fix; and whatever ``examine`` raises.
    """
    findings = await examine(url, mode)
    refused = [found for found in findings if found.severity == "refuse"]
    if refused:
        reasons = "".join(f"\n  - {found.subject}: {found.message}. Fix: {found.fix}" for found in refused)
        raise UnsafeStore(f"the Redis at {redact(url)} is not safe for sagas:{reasons}")
    return [found for found in findings if found.severity == "warn"]


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Redis]:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import AuthenticationError, RedisError

    try:
        redis = Redis.from_url(
            without_option(url, "durability")[0],  # the store's, and no option of the client's
            decode_responses=True,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise InvalidArgument(
            f"{redact(url)!r} is no Redis URL: it looks like redis://HOST:6379/0, rediss://... or unix:///path"
        ) from error
    try:
        yield redis
    except AuthenticationError as error:
        raise StoreUnavailable(f"the Redis at {redact(url)} wants another user or password: {error}") from error
    except (RedisError, OSError) as error:
        raise StoreUnavailable(
            f"the Redis at {redact(url)} cannot be reached or does not answer ({error}): check that it runs and that "
            "the URL is right; a retry is safe"
        ) from error
    finally:
        await redis.aclose()


async def _facts(redis: Redis, url: str) -> Facts | Finding:
    """What the server tells about itself, or the one finding when it tells nothing."""
    from redis.exceptions import NoPermissionError

    try:
        info: dict[str, object] = await redis.info()
    except NoPermissionError:
        return Finding(
            severity="refuse",
            subject="info",
            message="this user may not ask INFO, so that version, role and eviction are unknown",
            fix="allow it: ACL SETUSER ... +info +config|get",
        )
    if str(info.get("loading", 0)) != "0":
        raise StoreUnavailable(f"the Redis at {redact(url)} is still loading its data: try again when it has")
    return Facts(url=url, info=info, config=await _config(redis))


async def _config(redis: Redis) -> dict[str, str]:
    """Those of ``CONFIG_NAMES`` the server lets us see: an ACL, or a service that renames CONFIG, may hide them.

    One name a call: servers before 7.0, which are to be refused with a clear word, know no other way.
    """
    from redis.exceptions import ResponseError

    settings: dict[str, str] = {}
    for name in CONFIG_NAMES:
        with contextlib.suppress(ResponseError):
            answer = await redis.config_get(name)
            settings.update({name: str(answer[name])} if name in answer else {})
    return settings
