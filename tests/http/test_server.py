"""``sagas http`` as a process of its own, over real sockets; and the API beside ``sagas dev``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from sagas.cli import http_command
from sagas.cli.parser import build_parser
from sagas.client import Client
from sagas.errors import InvalidArgument
from sagas.http import create_app
from sagas.http.server import address_of, bind
from sagas.http.server import serving as served
from sagas.store.memory import MemoryStore
from tests.cli.console import Console
from tests.http.calling import PROBLEM, check_problem, kind, run
from tests.server.processes import wait_until

TOKEN = "correct-horse-battery-staple"
SHOP = Path(__file__).with_name("shop.py")


@pytest.fixture
def console() -> Iterator[Console]:
    """An empty folder, at a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="sg") as folder:
        found = Console(Path(folder))
        found.environment.pop(http_command.TOKEN, None)
        yield found


class Terminal:
    """A command that goes on, and the lines it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._read_one = threading.Condition()
        self._all_read = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def line(self, beginning: str) -> str:
        """The rest of the line that begins so, as soon as there is one."""
        with self._read_one:
            # Ray on a busy machine takes its time; the end of the process ends the waiting.
            self._read_one.wait_for(lambda: self._find(beginning) is not None or self._all_read, 300)
            found = self._find(beginning)
        assert found is not None, self.lines
        return found

    def ended(self) -> int:
        code = self.process.wait(60)
        self._reader.join()
        assert "Traceback" not in "\n".join(self.lines), self.lines
        return code

    def _find(self, beginning: str) -> str | None:
        return next((line.removeprefix(beginning).strip() for line in self.lines if line.startswith(beginning)), None)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                with self._read_one:
                    self.lines.append(line.rstrip())
                    self._read_one.notify_all()
        with self._read_one:
            self._all_read = True
            self._read_one.notify_all()


@contextlib.contextmanager
def terminal(console: Console, *words: str) -> Iterator[Terminal]:
    process = console.open(*words)
    found = Terminal(process)
    try:
        yield found
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        found._reader.join()


@contextlib.contextmanager
def api(console: Console, url: str, namespace: str, *words: str) -> Iterator[tuple[Terminal, httpx.Client]]:
    """``sagas http`` on a free port, and a client of it."""
    with terminal(console, "http", "--port", "0", "--url", url, "--namespace", namespace, *words) as found:
        address = found.line("http     ").split("/v1/sagas")[0]
        with httpx.Client(base_url=address, timeout=60) as http:
            yield found, http


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal_and_answers_who_waits(
    console: Console, debian_redis_url: str, namespace: str, ending: int
) -> None:
    with api(console, debian_redis_url, namespace) as (found, http):
        found.line("ready")
        assert http.get("/readyz").json() == {"status": "ready"}
        started = http.post("/v1/sagas", json={"type": "nap", "args": [1], "id": "n/1"})
        assert started.status_code == 201
        assert http.get(started.headers["location"]).json()["id"] == "n/1"
        answers: list[httpx.Response] = []
        waiting = threading.Thread(target=lambda: answers.append(http.get("/v1/sagas/n%2F1/result?wait=60")))
        waiting.start()
        port = int(http.base_url.port or 0)
        wait_until(lambda: connections_to(found.process.pid, port) > 0, "the long poll's connection")
        while waiting.is_alive() and found.process.poll() is None:
            found.process.send_signal(ending)
            waiting.join(1)
        waiting.join()
        assert answers[0].status_code == 202
        assert found.ended() == 0
        assert found.lines[-1] == "stopped"


def connections_to(pid: int, port: int) -> int:
    """How many connections the process has accepted on this port."""
    held = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" and f"socket:[{row[9]}]" in held for row in rows)


def test_a_token_opens_it(console: Console, debian_redis_url: str, namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with api(console, debian_redis_url, namespace, "--token-file", str(file)) as (found, http):
        assert http.get("/healthz").status_code == 200
        assert http.get("/v1/sagas").status_code == 401
        assert http.get("/v1/sagas", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        found.process.terminate()
        assert found.ended() == 0
        assert TOKEN not in "\n".join(found.lines)


def test_what_keeps_it_from_starting(
    console: Console, debian_redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(what: str, *words: str) -> None:
        with pytest.raises(InvalidArgument, match=what):
            http_command.http(build_parser().parse_args(["http", "--url", debian_redis_url, "--port", "0", *words]))

    monkeypatch.delenv(http_command.TOKEN, raising=False)
    refused("SAGAS_HTTP_TOKEN", "--host", "0.0.0.0")
    refused("--token-file", "--host", "sagas.example")
    refused("cannot be read", "--token-file", str(tmp_path / "none"))
    for odd in ("short", ""):
        monkeypatch.setenv(http_command.TOKEN, odd)
        refused("16 or more", "--host", "0.0.0.0")
        refused("16 or more")
        with pytest.raises(InvalidArgument, match="16 or more"), http_command.socket_beside(0):
            pass
    monkeypatch.delenv(http_command.TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(f"cannot listen on 127.0.0.1 port {port}", "--port", port)
    answer = console.run("http", "--port", "0", "--url", f"unix://{tmp_path}/nobody.sock")
    assert (answer.code, answer.out) == (3, "")
    answer = console.run("http", "--port", "65536")
    assert (answer.code, answer.out) == (2, "")
    assert "no port" in answer.err


def test_without_the_extra_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http_command, "is_installed", lambda: False)
    with pytest.raises(InvalidArgument, match=r"pip install 'ray-sagas\[http\]'"):
        http_command.http(build_parser().parse_args(["http"]))

    async def beside() -> str:
        with http_command.socket_beside(None) as listening:
            async with http_command.api_beside(listening, "redis://nowhere", "default") as where:
                return where

    assert "pip install 'ray-sagas[http]'" in run(beside())


def test_importing_sagas_or_its_command_line_loads_no_fastapi() -> None:
    probe = (
        "import sys, sagas, sagas.cli.http_command, sagas.client\n"
        "print({'fastapi', 'uvicorn', 'starlette'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_port_of_dev_is_the_usual_one_or_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(http_command, "PORT", port)
        with http_command.socket_beside(None) as listening:
            assert listening is not None
            assert listening.getsockname()[1] != port
        with pytest.raises(InvalidArgument, match=f"port {port}"), http_command.socket_beside(port):
            pass


@pytest.mark.timeout(600)
def test_dev_serves_it_too(console: Console) -> None:
    (console.folder / "shop.py").write_text(SHOP.read_text())
    with terminal(console, "dev", "shop", "--hosts", "1", "--workers", "1", "--http-port", "0") as found:
        address = found.line("http     ")
        found.line("ready")
        with httpx.Client(timeout=60) as http:
            started = http.post(address, json={"type": "pay", "args": [500], "id": "p"})
            assert started.status_code == 201
            assert http.get(f"{address}/p/result?wait=60").json()["result"] == {"paid": 500}
        os.killpg(found.process.pid, signal.SIGINT)
        assert found.ended() == 0
        assert found.lines[-1] == "stopped"


# --- over a socket, in this process


def spoken(*parts: bytes) -> httpx.Response:
    """The server's first answer to these bytes."""

    async def talk() -> tuple[bytes, bytes]:
        listening = bind("127.0.0.1", 0)
        host, port = listening.getsockname()
        async with served(create_app(Client(MemoryStore())), listening):
            reader, writer = await asyncio.open_connection(host, port)
            for part in parts:
                writer.write(part)
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            writer.close()
            return head, body

    head, body = run(talk())
    status, *lines = head.decode().strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["content-type"] == PROBLEM
    response = httpx.Response(int(status.split()[1]), headers=headers, content=body)
    check_problem(response)
    return response


POST = b"POST /v1/sagas HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 70_000,
    ],
    ids=["words", "header", "tls", "path", "long"],
)
def test_what_is_no_http_is_a_problem_too(said: bytes) -> None:
    response = spoken(said)
    assert kind(response) == "malformed-request"
    assert response.headers["connection"] == "close"


def test_a_body_that_is_too_long_is_refused_before_it_is_there() -> None:
    assert kind(spoken(POST + b"content-length: 99999999\r\n\r\n", b"{")) == "content-too-large"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = spoken(POST + b"transfer-encoding: chunked\r\n\r\n", *([chunk] * 40))
    assert kind(answer) == "content-too-large"


def test_a_host_that_is_missing_or_foreign() -> None:
    for said in (b"GET /v1/sagas HTTP/1.0\r\n\r\n", b"GET /v1/sagas HTTP/1.0\r\nhost: evil.example\r\n\r\n"):
        assert kind(spoken(said)) == "forbidden"


def test_a_long_poll_ends_when_its_client_goes_away() -> None:
    async def scenario() -> None:
        client, listening = Client(MemoryStore()), bind("127.0.0.1", 0)
        await client.start_by_name("nap", 1, id="n")
        async with served(create_app(client), listening):
            _reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"GET /v1/sagas/n/result?wait=60 HTTP/1.1\r\nhost: localhost\r\n\r\n")
            while not client.access._changed:
                await asyncio.sleep(0.01)
            writer.close()
            while client.access._changed:
                await asyncio.sleep(0.01)

    run(scenario())


def test_an_address_of_either_family() -> None:
    with bind("127.0.0.1", 0) as four:
        assert address_of(four) == f"http://127.0.0.1:{four.getsockname()[1]}"
    with bind("::1", 0) as six:
        assert address_of(six) == f"http://[::1]:{six.getsockname()[1]}"
    for host in ("192.0.2.1", "no such host", "x" * 300):
        with pytest.raises(InvalidArgument, match="cannot listen"):
            bind(host, 0)


def test_it_can_be_mounted(debian_redis_url: str, namespace: str) -> None:
    async def scenario() -> None:
        inner = create_app(debian_redis_url, namespace=namespace, allowed_hosts=None)
        outer = FastAPI()
        outer.mount("/flows", inner)
        async with (
            inner.router.lifespan_context(inner),
            httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://shop.example") as http,
        ):
            started = await http.post("/flows/v1/sagas", json={"type": "nap", "args": [1], "id": "a/b"})
            assert started.headers["location"] == "/flows/v1/sagas/a%2Fb"
            assert (await http.get(started.headers["location"])).json()["id"] == "a/b"
            lost = await http.get("/flows/v1/nowhere")
            assert kind(lost) == "no-such-resource"
            wrong = await http.put("/flows/v1/sagas")
            assert wrong.headers["allow"] == "GET, POST"

    run(scenario())
