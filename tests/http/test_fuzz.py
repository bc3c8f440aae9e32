"""Whatever is sent: an answer as described, or a problem; never a crash, and no 5xx but 503."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from sagas.http.service import Limits
from tests.http.calling import Api, serving

IDS = ["n", "t", "a/b", "ä", "nobody"]
QUICK = Limits(body_bytes=4000, answer_s=5.0, taken_s=0.05)

text = st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
members = {
    "type": st.sampled_from(["echo", "Tally", "nap", "nothing"]) | values,
    "args": st.lists(values, max_size=3) | values,
    "id": st.sampled_from(IDS) | values,
    "on_conflict": st.sampled_from(["fail", "use_existing", "terminate_existing", "x"]),
    "on_reuse": st.sampled_from(["allow", "allow_failed", "reject"]) | values,
    "attributes": st.dictionaries(text, scalars, max_size=2) | values,
    "signal": st.sampled_from(["add", "close", "wake"]) | values,
    "signal_args": st.lists(values, max_size=2),
    "reason": text | values,
    "by": text | values,
}
bodies = (
    st.fixed_dictionaries({}, optional=members).map(json.dumps)
    | values.map(json.dumps)
    | st.builds(lambda value, cut: json.dumps(value)[:cut], values, st.integers(0, 30))
)
contents = bodies.map(str.encode) | st.binary(max_size=60) | st.sampled_from([b"[" * 3000, b"0" * 4001, b""])
resources = st.sampled_from([
    "", "/result", "/history", "/signals/add", "/signals/close", "/queries/total", "/cancel", "/terminate", "/pause",
    "/resume", "/signal-with-start", "/nothing",
])  # fmt: skip
paths = (
    st.just("/v1/sagas")
    | st.builds(lambda name, rest: f"/v1/sagas/{quote(name, safe='')}{rest}", st.sampled_from(IDS) | text, resources)
    | st.sampled_from(["/healthz", "/readyz", "/", "/v1/sagas/%ff", "/v1/sagas/%00/result", "/v1/sagas/%2e%2e/%zz"])
)
odd = st.sampled_from(["0", "-1", "1e999", "nan", "99999999999999999999", ""]) | st.text(
    alphabet="ab'=:;\x00\n", max_size=9
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "query": st.sampled_from(["status = 'running'", "status", "id = '"]) | odd,
        "limit": odd,
        "offset": odd,
        "run_id": odd,
        "wait": odd | st.just("0.01"),
        "x": odd,
    },
)
headers = st.fixed_dictionaries(
    {"content-type": st.sampled_from(["application/json"] * 5 + ["text/plain", "", "application/json; charset=x"])},
    optional={
        "idempotency-key": st.sampled_from(["k", '"k"', "", "x" * 300]),
        "traceparent": st.sampled_from(["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x"]),
        "content-length": st.sampled_from(["5", "99999999999", "x"]),
    },
)

args = st.lists(values, max_size=2)
started = st.fixed_dictionaries(
    {"type": st.sampled_from(["echo", "Tally", "nap", "pay", "nothing"]), "args": args},
    optional={
        "id": st.sampled_from(IDS) | text,
        "on_conflict": st.sampled_from(["use_existing", "terminate_existing"]),
    },
)
signalled = st.fixed_dictionaries({"type": st.just("Tally"), "args": args, "signal": text, "signal_args": args})
orders = st.sampled_from(["cancel", "terminate", "pause", "resume"])
named = st.sampled_from(IDS).map(lambda name: f"/v1/sagas/{quote(name, safe='')}")


def _post(path: st.SearchStrategy[str], body: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "method": st.just("POST"),
            "url": path,
            "content": body.map(lambda value: json.dumps(value).encode()),
            "headers": st.fixed_dictionaries(
                {"content-type": st.just("application/json")}, optional={"idempotency-key": st.sampled_from("jk")}
            ),
        }
    )


likely = st.one_of(
    _post(st.just("/v1/sagas"), started),
    _post(
        st.builds("{}/signals/{}".format, named, st.sampled_from(["add", "close", "no"])), st.builds(dict, args=args)
    ),
    _post(st.builds("{}/queries/{}".format, named, st.sampled_from(["total", "at", "no"])), st.builds(dict, args=args)),
    _post(st.builds("{}/{}".format, named, orders), st.just({})),
    _post(st.builds("{}/signal-with-start".format, named), signalled),
    st.fixed_dictionaries(
        {"method": st.just("GET"), "url": st.builds("{}{}".format, named, st.sampled_from(["", "/result", "/history"]))}
    ),
)
wild = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["POST", "POST", "POST", "GET", "GET", "PUT", "DELETE"]),
        "url": paths,
        "params": queries,
        "headers": headers,
        "content": contents,
    }
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(request=likely | wild)
def _sent(request: dict[str, Any], runner: asyncio.Runner, api: Api) -> None:
    request = request | {"url": f"http://localhost{request['url']}"}
    response: httpx.Response = runner.run(api.http.request(**request))  # held against the schema on its way
    event(f"answered {response.status_code}")
    assert response.status_code < 500 or response.status_code == 503, response.text


def test_whatever_is_sent() -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        api = runner.run(stack.enter_async_context(serving(limits=QUICK)))
        try:
            _sent(runner=runner, api=api)
            # It has not suffered: another saga runs.
            assert runner.run(api.result(runner.run(api.start("echo", "well"))["id"]))["result"] == "well"
        finally:
            runner.run(stack.aclose())
