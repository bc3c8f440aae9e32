"""Opening a store says what is unwise about its server, judged by the durability that was asked for."""

from __future__ import annotations

import asyncio

import pytest

from sagas.connection import open_store
from tests.server.test_doctor import GOOD, Serve


@pytest.mark.parametrize(
    ("settings", "option", "told"),
    [
        ({}, "", ""),
        ({"appendonly": "no"}, "", "no AOF"),
        ({"appendfsync": "everysec"}, "", "everysec in mode strict"),
        ({"appendfsync": "everysec"}, "?durability=ha", "everysec in mode ha"),
        ({"appendfsync": "everysec"}, "?durability=fast", ""),
    ],
)
def test_warnings_are_logged(
    settings: dict[str, str], option: str, told: str, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(**GOOD | settings)

    async def scenario() -> None:
        await (await open_store(f"{server.url}{option}", "default")).close()

    asyncio.run(scenario())
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == (1 if told else 0), warned
    assert told in "".join(warned)
