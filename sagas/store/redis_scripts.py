"""The Lua scripts of the store, one operation each (``lua/*.lua``), and how one is run.

Law: a script is called by its hash; a server that does not know it (restarted, SCRIPT FLUSH) is given it and asked
once more, which is safe, because NOSCRIPT means that nothing ran.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources

from redis.exceptions import NoScriptError

from sagas.store.redis_errors import unavailable
from sagas.store.redis_line import Line, Reply


class Script:
    """One script: its source and the hash Redis knows it by."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = resources.files("sagas.store").joinpath("lua", f"{name}.lua").read_bytes()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()

    async def run(self, line: Line, keys: Sequence[str], arguments: Sequence[object]) -> Reply:
        """The script's reply. Raises StoreUnavailable."""
        command = ("EVALSHA", self.sha, len(keys), *keys, *arguments)
        return await self._known(line, lambda: line.call(*command))

    async def run_before(
        self, line: Line, keys: Sequence[str], arguments: Sequence[object], *following: tuple[object, ...]
    ) -> list[Reply]:
        """The replies of the script and of the commands that follow it, in one write on one connection."""
        command = ("EVALSHA", self.sha, len(keys), *keys, *arguments)
        replies: list[Reply] = await self._known(line, lambda: line.calls([command, *following]))
        return replies

    async def _known(self, line: Line, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        try:
            return await ask()
        except NoScriptError:
            await line.call("SCRIPT", "LOAD", self.source)
        try:
            return await ask()
        except NoScriptError as error:
            raise unavailable(error, line.where) from error


COMMIT = Script("commit")
ENQUEUE = Script("enqueue")
CLAIM = Script("claim")
RECLAIM = Script("reclaim")
RENEW = Script("renew")
RELEASE = Script("release")
MEMBERS = Script("members")
