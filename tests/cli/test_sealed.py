"""The command line and a codec: without it payloads are opaque, and a variable says where it is."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

import sagas
from sagas.server import EmbeddedServer
from tests.cli.conftest import folder_with_shop
from tests.cli.console import Console
from tests.payloads import codecs
from tests.payloads.codecs import Know, Xor, know

__all__ = ["know"]


@sagas.saga
async def whisper(word: str) -> str:
    if word == "no":
        raise ValueError("Ada-4711 said no")
    return f"{word} Ada-4711"


def test_what_is_sealed_is_shown_to_whoever_has_the_codec(know: Know) -> None:
    async def whispered(url: str) -> None:
        async with sagas.embedded(url) as client:
            await client.execute(whisper, "hello", id="w-1")
            with pytest.raises(sagas.SagaFailed):
                await client.execute(whisper, "no", id="w-2")

    know(Xor("key"))
    keys = f"import sagas\n\n{inspect.getsource(codecs.Xor)}\n\nsagas.use_codec(Xor('key'))\n"
    with folder_with_shop() as folder, EmbeddedServer.start(Path(folder, ".sagas"), die_with_parent=True) as server:
        asyncio.run(whispered(server.url))
        Path(folder, "keys.py").write_text(keys)
        console = Console(Path(folder))
        for told in (console.run("result", "w-1"), console.run("result", "w-2"), console.run("history", "w-2")):
            assert "Ada-4711" not in told.out + told.err
            assert "'key'" in told.out + told.err
        assert "whisper" in console.ok("list").out
        assert console.run("result", "w-1", SAGAS_MODULES="keys").out == "hello Ada-4711\n"
        assert "Ada-4711 said no" in console.run("result", "w-2", SAGAS_MODULES="keys").err
        assert "Ada-4711 said no" in console.run("history", "w-2", SAGAS_MODULES="keys").out
        wrong = console.run("list", SAGAS_MODULES="no_such_module")
        assert (wrong.code, "no_such_module" in wrong.err) == (2, True)
