"""What the synchronous client does: all that the asynchronous one does, on a real Redis with a real host."""

from __future__ import annotations

import concurrent.futures

import pytest
from opentelemetry.sdk.trace import TracerProvider

import sagas
from sagas import Handle, SagaAlreadyStarted, SagaFailed, SagaNotFound, Status, StoreUnavailable, SyncClient
from sagas.kernel.events import RunStarted
from sagas.telemetry.trace import Caller, parse_traceparent
from tests.client.shop import Counter, SoldOut, sell, total


@pytest.mark.usefixtures("host")
def test_a_function_and_a_class(client: SyncClient) -> None:
    assert client.execute(total, 2, 3, id="total-1") == 5
    counter = client.start(Counter, 10, id="counter-1", attributes={"shop": "Rome"})
    counter.signal(Counter.more, 5)
    counter.signal("more", 1, message_id="m1")
    counter.signal("more", 1, message_id="m1")
    assert counter.query(Counter.so_far) == 16
    assert client.get("counter-1").query("so_far") == 16
    found = counter.describe()
    assert (found.status, found.type, found.run_id) == (Status.RUNNING, "Counter", counter.run_id)
    assert found.attributes == {"shop": "Rome"}
    assert {each.id for each in client.list()} == {"total-1", "counter-1"}
    assert client.count("status = 'running'") == 1
    counter.signal(Counter.stop)
    assert counter.result(timeout=60) == 16
    assert isinstance(counter.history()[0], RunStarted)


@pytest.mark.usefixtures("host")
def test_starting_by_name_and_with_a_signal(client: SyncClient) -> None:
    assert client.start_by_name("total", 1, 1).result() == 2
    for _ in range(2):
        handle = client.signal_with_start(Counter, 100, id="c", signal=Counter.more, signal_args=(7,))
    assert handle.query(Counter.so_far) == 114


@pytest.mark.usefixtures("host")
def test_pausing_and_ending(client: SyncClient) -> None:
    handle = client.start(Counter, id="paused")
    handle.pause(by="me")
    handle.signal(Counter.stop)
    with pytest.raises(TimeoutError, match="did not end"):
        handle.result(timeout=0.01)
    handle.resume()
    assert handle.result() == 0
    cancelled, terminated = client.start(Counter, start_delay=3600), client.start_by_name("Counter", start_delay=3600)
    cancelled.cancel("changed my mind")
    terminated.terminate("enough")
    with pytest.raises(sagas.SagaCancelled, match="changed my mind"):
        cancelled.result()
    with pytest.raises(sagas.SagaTerminated, match="enough"):
        terminated.result()


@pytest.mark.usefixtures("host")
def test_errors_come_as_they_are(client: SyncClient) -> None:
    with pytest.raises(SagaFailed, match="no hats") as failed:
        client.execute(sell, "no hats", id="hats")
    assert type(failed.value.__cause__) is SoldOut
    with pytest.raises(SagaAlreadyStarted):
        client.start(sell, "no hats", id="hats", on_reuse="reject")
    with pytest.raises(SagaNotFound):
        client.get("nobody").describe()
    with pytest.raises(sagas.ArgumentMismatch):
        client.start(total, 1)  # type: ignore[arg-type]
    with pytest.raises(sagas.InvalidArgument):
        next(client.list("color = 'red'"))


def test_it_needs_no_host(client: SyncClient) -> None:
    handle = client.start(total, 1, 2, id="waiting")
    assert handle.run_id
    with pytest.raises(TimeoutError):
        handle.result(timeout=0.01)


@pytest.mark.usefixtures("host")
def test_many_threads_share_one_client(client: SyncClient) -> None:
    handles = [client.start(Counter, id=f"counter-{n}") for n in range(4)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        sums = [pool.submit(client.execute, total, n, n) for n in range(40)]
        waiting = [pool.submit(handle.result) for handle in handles]
        signals = [pool.submit(handle.signal, Counter.more, 1) for handle in handles for _ in range(20)]
        assert [each.result() for each in sums] == [2 * n for n in range(40)]
        for each in signals:
            each.result()
        for handle in handles:
            handle.signal(Counter.stop)
        assert [each.result() for each in waiting] == [20] * 4


@pytest.mark.usefixtures("host")
def test_a_start_continues_its_callers_trace(client: SyncClient) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("request") as span:
        inside = client.start(total, 1, 1)
    outside = client.start(total, 1, 1)
    inside.result()
    outside.result()
    started = [handle.history()[0] for handle in (inside, outside)]
    callers = [parse_traceparent(event.trace) for event in started if isinstance(event, RunStarted)]
    context = span.get_span_context()
    assert callers == [Caller(trace_id=context.trace_id, span_id=context.span_id, sampled=True), None]


def test_pages_are_fetched_as_they_are_needed(client: SyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []

    async def pages(query: str) -> object:
        for number in range(3):
            fetched.append(number)
            yield [f"{query} {number} a", f"{query} {number} b"]

    monkeypatch.setattr(client._client, "_pages", pages)
    rows = client.list("q")
    assert [next(rows), next(rows)] == ["q 0 a", "q 0 b"]
    assert fetched == [0]
    assert list(rows) == ["q 1 a", "q 1 b", "q 2 a", "q 2 b"]


def test_the_url_is_found_as_connect_finds_it(
    debian_redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGAS_URL", debian_redis_url)
    with sagas.connect_sync(namespace=namespace) as client:
        assert client.count() == 0


def test_a_redis_that_is_not_there() -> None:
    with pytest.raises(StoreUnavailable, match=r"nobody\.sock"):
        sagas.connect_sync("unix:///nowhere/nobody.sock")


def test_a_handle_shows_its_id(client: SyncClient) -> None:
    assert repr(client.get("a")) == "<saga 'a'>"
    assert not isinstance(client.get("a"), Handle)
