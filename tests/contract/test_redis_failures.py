"""What the Redis store does when the server forgets, refuses, dies or falls silent."""

import asyncio
import os
import signal

import pytest

from sagas.errors import InvalidArgument, StoreUnavailable
from sagas.store.keys import Keys, shard_of
from sagas.store.port import AdmissionVerdict, CommitVerdict
from sagas.store.redis import RedisStore
from sagas.store.redis_line import Address, Line
from sagas.store.redis_wakeups import Wakeups
from tests.contract.samples import (
    DEADLINE_S,
    TTL_MS,
    batch,
    bodies,
    claimed,
    committed,
    eventually,
    eventually_up,
    head,
    message,
    start,
    step,
    unread,
)
from tests.servers import Server

LONG_MS = 600_000


def run(server: Server, namespace: str, scenario) -> None:
    async def opened() -> None:
        store = await RedisStore.connect(server.url, namespace)
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(opened())


# --- a server that forgot ---


def test_forgotten_scripts_are_sent_again(server: Server, namespace: str) -> None:
    async def scenario(store: RedisStore) -> None:
        claim = await claimed(store, "a")
        with server.client() as client:
            for sequence in (1, 2):
                client.script_flush()
                verdict = await committed(store, claim, sequence, step("a", sequence - 1))
                assert verdict.verdict is CommitVerdict.OK
            client.script_flush()
        answers = await asyncio.gather(*(store.enqueue(start(f"x{n}")) for n in range(50)))
        assert {each.verdict for each in answers} == {AdmissionVerdict.OK}

    run(server, namespace, scenario)


def test_after_a_restart_the_present_owner_comes_first(own_server: Server, namespace: str) -> None:
    async def scenario(store: RedisStore) -> None:
        keys, shard = Keys(namespace), shard_of("a")
        claim = await claimed(store, "a", "a")
        own_server.kill()
        own_server.restart()
        with own_server.client() as client:
            client.hset(keys.lease(shard), "e", 1)  # it ran out while the server was down
            assert await eventually_up(lambda: store.claim(shard, "b", TTL_MS)) is None
            assert await store.renew([claim], "a", TTL_MS) == [shard]
            client.hset(keys.lease(shard), mapping={"e": 1, "t": 1})  # and here one that nobody renewed in time
            assert await store.claim(shard, "b", TTL_MS) is not None

    run(own_server, namespace, scenario)


# --- a server that refuses ---


@pytest.mark.parametrize(
    ("refuse", "allow", "says"),
    [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "memory is full"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "is a replica"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "too few replicas"),
    ],
    ids=["out of memory", "read only", "no replicas"],
)
def test_a_refusing_server_writes_nothing(
    own_server: Server, namespace: str, refuse: str, allow: str, says: str
) -> None:
    async def scenario(store: RedisStore) -> None:
        claim = await claimed(store, "a")
        other = await claimed(store, "b")
        flush = [batch(claim, 1, step("a", busy=True)), batch(other, 1, step("b"))]
        mail = start("c", message_id="m")
        with own_server.client() as client:
            before = sorted(client.keys())
            client.execute_command(refuse)
            with pytest.raises(StoreUnavailable, match=says):
                await store.commit(flush)
            with pytest.raises(StoreUnavailable, match=says):
                await store.commit([batch(claim, 1)])
            with pytest.raises(StoreUnavailable, match=says):
                await store.enqueue(mail)
            with pytest.raises(StoreUnavailable, match=says):
                await store.claim(9, "a", TTL_MS)
            assert sorted(client.keys()) == before
            client.execute_command(allow)
        assert [each.verdict for each in await store.commit(flush)] == [CommitVerdict.OK] * 2
        assert (await store.enqueue(mail)).verdict is AdmissionVerdict.OK
        assert len(await unread(store, "c")) == 1

    run(own_server, namespace, scenario)


def test_leases_outlive_a_full_memory(own_server: Server, namespace: str) -> None:
    async def scenario(store: RedisStore) -> None:
        claim = await claimed(store, "a")
        with own_server.client() as client:
            client.config_set("maxmemory", 1)
        assert await store.renew([claim], "a", TTL_MS) == [claim.shard]
        assert await store.members("a", TTL_MS) == ["a"]
        await store.release([claim], "a")
        assert await store.renew([claim], "a", TTL_MS) == []

    run(own_server, namespace, scenario)


def test_a_password_is_asked_for_and_never_shown(own_server: Server) -> None:
    async def scenario() -> None:
        with own_server.client() as client:
            client.config_set("requirepass", "open-sesame")
        path = own_server.url.removeprefix("unix://")
        with pytest.raises(StoreUnavailable, match="password"):
            await RedisStore.connect(own_server.url)
        with pytest.raises(StoreUnavailable, match="password") as refused:
            await RedisStore.connect(f"unix://:guessed-wrong@{path}")
        assert "guessed-wrong" not in str(refused.value)
        store = await RedisStore.connect(f"unix://:open-sesame@{path}")
        assert await store.head("a") is None
        await store.close()

    asyncio.run(scenario())


def test_an_acl_may_be_as_narrow_as_our_keys(own_server: Server, namespace: str) -> None:
    """And INFO, which only a claim after a restart would like to see, may be forbidden."""

    async def scenario() -> None:
        with own_server.client() as client:
            client.execute_command("ACL SETUSER sagas on >pw ~sg:* &sg:* +@all -@dangerous -@admin")
        store = await RedisStore.connect(f"unix://sagas:pw@{own_server.url.removeprefix('unix://')}", namespace)
        claim = await claimed(store, "a")
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        await store.subscribe(store.notice_channel("a"), heard.put_nowait)
        await store.enqueue(start("a"))
        (mail,) = await unread(store, "a")
        done = await committed(store, claim, 1, step("a", mail=(mail.entry,), admitted=True, notice=b"n"))
        assert done.verdict is CommitVerdict.OK
        async with asyncio.timeout(DEADLINE_S):
            assert await heard.get() == b"n"
        await claimed(store, "b", "x")
        with own_server.client() as client:
            client.hset(Keys(namespace).lease(shard_of("b")), "e", 1)
        await claimed(store, "b", "y")
        await store.close()

    asyncio.run(scenario())


# --- a server that is not there ---


def test_nobody_there(tmp_path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        asyncio.run(RedisStore.connect(f"unix://{tmp_path}/none.sock"))
    with pytest.raises(InvalidArgument, match="redis://"):
        asyncio.run(RedisStore.connect("http://localhost"))
    with pytest.raises(InvalidArgument, match="option"):
        asyncio.run(RedisStore.connect(f"unix://{tmp_path}/none.sock?no_such_option=1"))


def test_a_killed_server_keeps_what_it_acknowledged(own_server: Server, namespace: str) -> None:
    async def scenario(store: RedisStore) -> None:
        claim = await claimed(store, "a")
        await committed(store, claim, 1, step("a"))
        await store.enqueue(message("a", b"mail"))
        reading = asyncio.create_task(store.read_mail({shard_of("b"): "0"}, LONG_MS))
        await store.head("a")
        own_server.kill()
        for call in (store.commit([batch(claim, 2)]), store.enqueue(start("b")), store.head("a"), reading):
            with pytest.raises(StoreUnavailable):
                await call
        own_server.restart()
        assert await eventually_up(lambda: store.head("a")) == head()
        assert bodies(await unread(store, "a")) == [b"mail"]
        assert (await committed(store, claim, 2, step("a", 1))).verdict is CommitVerdict.OK

    run(own_server, namespace, scenario)


def test_an_unsure_send_is_settled_by_sending_again(own_server: Server, namespace: str) -> None:
    """Killed with commits and messages under way: sent again, each was written exactly once."""

    async def scenario(store: RedisStore) -> None:
        ids = [f"i{n}" for n in range(30)]
        claims = {shard_of(id): await claimed(store, id) for id in ids}
        steps_of = {shard: [step(id) for id in ids if shard_of(id) == shard] for shard in claims}
        flushes = [[batch(claim, 1, *steps_of[shard])] for shard, claim in claims.items()]
        mail = [start(f"new-{id}", message_id="m") for id in ids]
        sent = [asyncio.ensure_future(call) for call in (*map(store.commit, flushes), *map(store.enqueue, mail))]
        await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
        own_server.kill()
        await asyncio.wait(sent)
        assert all(isinstance(each.exception(), StoreUnavailable | None) for each in sent)
        own_server.restart()
        await eventually_up(lambda: store.head("a"))
        for flush in flushes:
            (again,) = await store.commit(flush)
            assert again.verdict in {CommitVerdict.OK, CommitVerdict.DUP}
        for admission in mail:
            assert (await store.enqueue(admission)).verdict in {AdmissionVerdict.OK, AdmissionVerdict.KNOWN}
        for id in ids:
            assert await store.history(id, "r1") == [b"r1/0"]
            assert [each.id for each in await unread(store, f"new-{id}")].count(f"new-{id}") == 1

    run(own_server, namespace, scenario)


def test_listening_goes_on_after_a_restart(own_server: Server, namespace: str) -> None:
    async def scenario(store: RedisStore) -> None:
        heard: list[bytes] = []
        gaps: list[list[bytes]] = []
        store.on_missed(lambda: gaps.append(list(heard)))
        await store.subscribe("x", heard.append)
        own_server.kill()
        own_server.restart()
        with pytest.raises(StoreUnavailable):  # the connections of before are found to be dead
            await store.publish("x", b"lost")
            raise StoreUnavailable("or had been noticed as such")

        async def arrives() -> bool:
            await store.publish("x", b"again")
            return b"again" in heard

        await eventually(arrives)
        assert gaps[0] == []  # told of the gap before anything was heard again

    run(own_server, namespace, scenario)


def test_a_silent_server_is_given_up(own_server: Server) -> None:
    async def scenario() -> None:
        line = Line(Address(own_server.url), answer_s=0.2)
        assert await line.call("PING") == b"PONG"
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            calls = [asyncio.ensure_future(line.call("PING")) for _ in range(3)]
            await asyncio.wait(calls)
            for each in calls:
                with pytest.raises(StoreUnavailable, match="did not answer in time"):
                    await each
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        assert await line.call("PING") == b"PONG"
        await line.close()

    asyncio.run(scenario())


def test_a_subscription_that_a_silent_server_does_not_confirm_is_given_up(own_server: Server) -> None:
    async def scenario() -> None:
        heard: list[bytes] = []
        wakeups = Wakeups(Address(own_server.url), answer_s=0.2)
        await wakeups.subscribe("x", heard.append)
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(StoreUnavailable, match="did not answer in time"):
                    await wakeups.subscribe("y", heard.append)
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        await eventually_up(lambda: wakeups.subscribe("z", heard.append))

        async def both_arrive() -> bool:
            with own_server.client() as client:
                client.publish("x", b"1")
                client.publish("z", b"2")
            return {b"1", b"2"} <= set(heard)

        await eventually(both_arrive)
        await wakeups.close()

    asyncio.run(scenario())


# --- a store that is closed, callers that leave ---


def test_a_closed_store_says_so(server: Server, namespace: str) -> None:
    async def scenario(store: RedisStore) -> None:
        await store.close()
        calls = (
            store.head("a"),
            store.enqueue(start("a")),
            store.read_mail({0: "0"}, 1),
            store.subscribe("x", lambda payload: None),
        )
        for call in calls:
            with pytest.raises(StoreUnavailable, match="closed"):
                await call

    run(server, namespace, scenario)


def test_a_caller_that_leaves_disturbs_nobody(server: Server, namespace: str) -> None:
    async def scenario(store: RedisStore) -> None:
        ids = [f"i{n}" for n in range(64)]
        for id in ids:
            claim = await claimed(store, id)
            await committed(store, claim, claim.sequence + 1, step(id, head=head(run_id=id)))
        for _ in range(5):
            asking = [asyncio.ensure_future(store.head(id)) for id in ids]
            await asyncio.sleep(0)
            for leaving in asking[::3]:
                leaving.cancel()
            await asyncio.wait(asking)
            for id, asked in zip(ids, asking, strict=True):
                assert asked.cancelled() or asked.result() == head(run_id=id)
            assert sum(asked.cancelled() for asked in asking) == len(asking[::3])

    run(server, namespace, scenario)
