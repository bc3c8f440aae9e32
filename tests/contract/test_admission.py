"""The door of an instance: who is admitted under which policy, and what is remembered."""

import pytest

from sagas.store.port import Admission, AdmissionVerdict, Admitted, Status, Store
from tests.conftest import OpenStore
from tests.contract.samples import (
    applied,
    bodies,
    claimed,
    closing,
    committed,
    enqueued,
    eventually,
    message,
    start,
    step,
    unread,
    with_store,
)

V = AdmissionVerdict
LATER = "99999999999999-0"


async def nothing(store: Store) -> None:
    """No run was ever admitted."""


async def admitted(store: Store) -> None:
    """Run r1 is admitted, and no host has applied it."""
    await store.enqueue(start("a"))


async def running(store: Store) -> None:
    await applied(store, "a", start("a"))


async def ended(store: Store, status: Status) -> None:
    claim = await applied(store, "a", start("a"))
    await committed(store, claim, 2, closing("a", 1, status=status, read_upto=LATER))


async def completed(store: Store) -> None:
    await ended(store, Status.COMPLETED)


async def failed(store: Store) -> None:
    await ended(store, Status.FAILED)


async def cancelled(store: Store) -> None:
    await ended(store, Status.CANCELLED)


LIVE = (admitted, running)
ENDED = (completed, failed, cancelled)
STATUS = {completed: Status.COMPLETED, failed: Status.FAILED, cancelled: Status.CANCELLED}


def check(open_store: OpenStore, before, admission: Admission, expected: Admitted, *mail: bytes) -> None:
    """From the state ``before``, the admission gets the answer and leaves exactly this new mail."""

    async def scenario(store: Store) -> None:
        await before(store)
        old = len(await unread(store, "a"))
        assert await store.enqueue(admission) == expected
        assert bodies(await unread(store, "a"))[old:] == list(mail)

    with_store(open_store, scenario)


def answer(verdict: AdmissionVerdict, run_id: str = "", status: Status = Status.RUNNING) -> Admitted:
    return Admitted(verdict=verdict, run_id=run_id, status=status)


# --- start ---


def test_start_of_a_new_instance(open_store: OpenStore) -> None:
    check(open_store, nothing, start("a", "r2"), answer(V.OK, "r2"), b"start")


@pytest.mark.parametrize("before", LIVE)
def test_start_beside_a_live_run_fails(open_store: OpenStore, before) -> None:
    check(open_store, before, start("a", "r2"), answer(V.ALREADY_STARTED, "r1"))


@pytest.mark.parametrize("before", LIVE)
def test_start_beside_a_live_run_uses_it(open_store: OpenStore, before) -> None:
    check(open_store, before, start("a", "r2", on_conflict="use_existing"), answer(V.EXISTING, "r1"))


@pytest.mark.parametrize("before", LIVE)
def test_start_beside_a_live_run_terminates_it(open_store: OpenStore, before) -> None:
    admission = start("a", "r2", on_conflict="terminate_existing", terminate_mail=b"terminate")
    check(open_store, before, admission, answer(V.OK, "r2"), b"terminate", b"start")


@pytest.mark.parametrize("before", ENDED)
@pytest.mark.parametrize("on_conflict", ["fail", "use_existing", "terminate_existing"])
def test_start_after_an_ended_run(open_store: OpenStore, before, on_conflict: str) -> None:
    admission = start("a", "r2", on_conflict=on_conflict, terminate_mail=b"terminate")
    check(open_store, before, admission, answer(V.OK, "r2"), b"start")


@pytest.mark.parametrize("before", ENDED)
def test_reject_refuses_after_any_end(open_store: OpenStore, before) -> None:
    check(open_store, before, start("a", "r2", on_reuse="reject"), answer(V.ALREADY_STARTED, "r1", STATUS[before]))


@pytest.mark.parametrize("before", [failed, cancelled])
def test_allow_failed_admits_after_a_failure(open_store: OpenStore, before) -> None:
    check(open_store, before, start("a", "r2", on_reuse="allow_failed"), answer(V.OK, "r2"), b"start")


def test_allow_failed_refuses_after_success(open_store: OpenStore) -> None:
    expected = answer(V.ALREADY_STARTED, "r1", Status.COMPLETED)
    check(open_store, completed, start("a", "r2", on_reuse="allow_failed"), expected)


@pytest.mark.parametrize("before", [*LIVE, *ENDED])
def test_the_start_of_a_run_that_exists_is_known(open_store: OpenStore, before) -> None:
    """Also long after its message id was forgotten."""
    check(open_store, before, start("a", "r1"), answer(V.KNOWN, "r1", STATUS.get(before, Status.RUNNING)))


def test_a_started_run_is_admitted_until_it_is_applied(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        assert await store.admitted("a") is None
        assert await store.standing("a") == (None, None)
        await store.enqueue(start("a"))
        assert await store.admitted("a") == "r1"
        assert await store.standing("a") == ("r1", None)
        await applied(store, "a", start("a", "r1"))
        assert await store.admitted("a") is None
        assert await store.standing("a") == (None, await store.head("a"))

    with_store(open_store, scenario)


def test_the_replaced_run_takes_no_more_messages(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        await applied(store, "a", start("a"))
        await store.enqueue(start("a", "r2", on_conflict="terminate_existing", terminate_mail=b"terminate"))
        answers = await enqueued(store, message("a", run_id="r1"), message("a", run_id="r2"), message("a"))
        assert answers == [answer(V.CLOSED, "r2"), answer(V.OK, "r2"), answer(V.OK, "r2")]

    with_store(open_store, scenario)


# --- message and read ---


def test_message_to_nobody(open_store: OpenStore) -> None:
    check(open_store, nothing, message("a"), answer(V.NOT_FOUND))


@pytest.mark.parametrize("before", LIVE)
@pytest.mark.parametrize("run_id", ["", "r1"])
def test_message_to_a_live_run(open_store: OpenStore, before, run_id: str) -> None:
    check(open_store, before, message("a", run_id=run_id), answer(V.OK, "r1"), b"hello")


@pytest.mark.parametrize("before", ENDED)
@pytest.mark.parametrize("run_id", ["", "r1"])
def test_message_to_an_ended_run(open_store: OpenStore, before, run_id: str) -> None:
    check(open_store, before, message("a", run_id=run_id), answer(V.CLOSED, "r1", STATUS[before]))


@pytest.mark.parametrize("before", LIVE)
def test_message_to_a_run_that_never_was(open_store: OpenStore, before) -> None:
    check(open_store, before, message("a", run_id="r0"), answer(V.NOT_FOUND, "r1"))


def test_message_to_the_run_before(open_store: OpenStore) -> None:
    async def before(store: Store) -> None:
        claim = await applied(store, "a", start("a"))
        await committed(store, claim, 2, closing("a", 1), step("a", 0, "r2"))

    check(open_store, before, message("a", run_id="r1"), answer(V.CLOSED, "r2"))


def test_read_of_nobody(open_store: OpenStore) -> None:
    check(open_store, nothing, message("a", kind="read"), answer(V.NOT_FOUND))


@pytest.mark.parametrize("before", [*LIVE, *ENDED])
def test_read_of_any_run(open_store: OpenStore, before) -> None:
    expected = answer(V.OK, "r1", STATUS.get(before, Status.RUNNING))
    check(open_store, before, message("a", kind="read"), expected, b"hello")


# --- start_or_message ---


def both(**changes: object) -> Admission:
    return message("a", kind="start_or_message", start_mail=b"start", run_id="r2", **changes)


def test_start_or_message_starts(open_store: OpenStore) -> None:
    check(open_store, nothing, both(), answer(V.OK, "r2"), b"start", b"hello")


@pytest.mark.parametrize("before", LIVE)
def test_start_or_message_sends(open_store: OpenStore, before) -> None:
    check(open_store, before, both(), answer(V.OK, "r1"), b"hello")


@pytest.mark.parametrize("before", ENDED)
def test_start_or_message_starts_again(open_store: OpenStore, before) -> None:
    check(open_store, before, both(), answer(V.OK, "r2"), b"start", b"hello")


@pytest.mark.parametrize("before", ENDED)
def test_start_or_message_heeds_reject(open_store: OpenStore, before) -> None:
    check(open_store, before, both(on_reuse="reject"), answer(V.ALREADY_STARTED, "r1", STATUS[before]))


def test_start_or_message_heeds_allow_failed(open_store: OpenStore) -> None:
    expected = answer(V.ALREADY_STARTED, "r1", Status.COMPLETED)
    check(open_store, completed, both(on_reuse="allow_failed"), expected)


# --- message ids ---


@pytest.mark.parametrize(
    "admission", [start("a", "r1", message_id="m"), both(message_id="m")], ids=["start", "start_or_message"]
)
def test_a_resent_admission_is_known_and_leaves_no_second_mail(open_store: OpenStore, admission: Admission) -> None:
    async def scenario(store: Store) -> None:
        first, again = await enqueued(store, admission, admission)
        assert (first.verdict, again.verdict) == (V.OK, V.KNOWN)
        assert again.run_id == first.run_id == admission.run_id
        assert len(await unread(store, "a")) == (2 if admission.start_mail else 1)

    with_store(open_store, scenario)


def test_a_message_id_is_remembered_across_runs(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await applied(store, "a", start("a"))
        await store.enqueue(message("a", message_id="m"))
        await committed(store, claim, 2, closing("a", 1, read_upto=LATER))
        await store.enqueue(start("a", "r2"))
        assert await store.enqueue(message("a", message_id="m")) == answer(V.KNOWN, "r1")

    with_store(open_store, scenario)


def test_a_resent_use_existing_names_the_same_run(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await applied(store, "a", start("a"))
        admission = start("a", "r2", on_conflict="use_existing")
        await store.enqueue(admission)
        await committed(store, claim, 2, closing("a", 1))
        assert await store.enqueue(admission) == answer(V.KNOWN, "r1")

    with_store(open_store, scenario)


def test_a_refused_message_id_is_not_remembered(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        refused = await store.enqueue(message("a", message_id="m"))
        await store.enqueue(start("a"))
        accepted = await store.enqueue(message("a", message_id="m"))
        assert (refused.verdict, accepted.verdict) == (V.NOT_FOUND, V.OK)

    with_store(open_store, scenario)


def test_message_ids_of_different_instances_are_apart(open_store: OpenStore) -> None:
    """Also of ids that would run together when written with a colon between."""

    async def scenario(store: Store) -> None:
        answers = await enqueued(store, start("a:b", message_id="c"), start("a", message_id="b:c"))
        assert [each.verdict for each in answers] == [V.OK, V.OK]

    with_store(open_store, scenario)


def test_a_message_id_is_forgotten_in_time(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        await store.enqueue(start("a"))
        await store.enqueue(message("a", message_id="m", remember_ms=1))
        await store.enqueue(message("a", message_id="never", remember_ms=0))
        assert (await store.enqueue(message("a", message_id="never"))).verdict is V.OK

        async def forgotten() -> bool:
            return (await store.enqueue(message("a", message_id="m", remember_ms=1))).verdict is V.OK

        await eventually(forgotten)

    with_store(open_store, scenario)


# --- limits ---


def test_a_full_mailbox_refuses_and_writes_nothing(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        claim = await claimed(store, "a")
        await enqueued(store, start("a"), message("a", b"2"))
        refused = await store.enqueue(message("a", b"3", message_id="m"))
        assert refused.verdict is V.OVERLOADED
        first, second = await unread(store, "a")
        assert (first.body, second.body) == (b"start", b"2")
        await committed(store, claim, 1, step("a", mail=(first.entry,), admitted=True))
        assert (await store.enqueue(message("a", b"3", message_id="m"))).verdict is V.OK

    with_store(open_store, scenario, mailbox_limit=2)


def test_a_full_mailbox_admits_no_run(open_store: OpenStore) -> None:
    async def scenario(store: Store) -> None:
        assert (await store.enqueue(start("a"))).verdict is V.OVERLOADED
        assert await store.admitted("a") is None

    with_store(open_store, scenario, mailbox_limit=0)


def test_mail_is_opaque(open_store: OpenStore) -> None:
    body = bytes(range(256)) * 100
    check(open_store, nothing, start("a", "r2", mail=body), answer(V.OK, "r2"), body)
