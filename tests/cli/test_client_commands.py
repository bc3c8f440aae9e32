"""Commands about instances, as processes of their own, on a real store with a real host."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.console import Console


def test_execute_prints_the_result(shop: Console) -> None:
    answer = shop.ok("execute", "shop:book_trip", '{"city": "Rome"}', "--id", "trip-1", "--json")
    assert answer.json == {"hotel": "a hotel in Rome", "cents": 100}
    assert shop.ok("result", "trip-1", "--json").json == answer.json
    assert "a hotel in Rome" in shop.ok("history", "trip-1").out
    described = shop.ok("describe", "trip-1").out
    assert "completed" in described
    assert "why it is waiting" not in described


def test_a_failed_saga_exits_with_1_and_its_trace_shows_the_undo(shop: Console) -> None:
    answer = shop.run("execute", "shop:book_trip", '{"city": "Rome", "cents": 900}', "--id", "trip-2")
    assert (answer.code, answer.out) == (1, "")
    assert "CardDeclined: no money" in answer.err
    tree = shop.ok("trace", "trip-2").out
    assert "book_trip" in tree
    assert "unbook" in tree
    names = [span["name"] for span in shop.ok("trace", "trip-2", "--json").lines]
    assert names[-1] == "book_trip"
    assert {"book", "charge", "unbook"} <= set(names)
    (row,) = shop.ok("list", "status = 'failed' and id = 'trip-2'", "--json").lines
    assert (row["id"], row["status"], row["compensation"]) == ("trip-2", "failed", "done")


def test_signals_queries_and_what_it_waits_for(shop: Console) -> None:
    started = shop.ok("start", "shop:Subscription", "500", "--id", "sub-1", "--attributes", "region=eu", "--json").json
    assert started["id"] == "sub-1"
    described = shop.ok("describe", "sub-1", "--json").json
    assert described["run_id"] == started["run_id"]
    assert described["attributes"] == {"region": "eu"}
    assert [wait["kind"] for wait in described["waiting_for"]] == ["message"]
    assert "next: `sagas signal sub-1 NAME [ARG...]`" in shop.ok("describe", "sub-1").out
    for _ in range(2):  # the same message, taken once
        shop.ok("signal", "sub-1", "change_plan", "pro", "--message-id", "order-17")
    assert shop.ok("query", "sub-1", "state", "--json").json == {"user": "500", "plan": "pro"}
    refused = shop.run("query", "sub-1", "colour")
    assert (refused.code, refused.out) == (1, "")
    assert "colour" in refused.err
    shop.ok("signal", "sub-1", "cancel")
    assert shop.ok("result", "sub-1").out == "500 pro\n"
    events = shop.ok("history", "sub-1", "--json").lines
    assert [event["position"] for event in events] == list(range(len(events)))
    assert [event["name"] for event in events if event["event"] == "SignalReceived"] == ["change_plan", "cancel"]
    assert (events[0]["args"], events[-1]["result"]) == (["500"], "500 pro")
    closed = shop.run("signal", "sub-1", "cancel")
    assert closed.code == 2
    assert "has ended" in closed.err


def test_updates_print_what_their_handler_returns(shop: Console) -> None:
    shop.ok("start", "shop:Subscription", "u1", "--id", "sub-2")
    for _ in range(2):  # the same update, taken once
        assert shop.ok("update", "sub-2", "upgrade", "pro", "--message-id", "order-18").out == "free\n"
    assert shop.ok("update", "sub-2", "upgrade", "team", "--json").json == "pro"
    for args, words in (((""), "name a plan"), (("gold"), "sold out")):
        refused = shop.run("update", "sub-2", "upgrade", args)
        assert (refused.code, refused.out) == (1, "")
        assert words in refused.err
    shop.ok("terminate", "sub-2")


def test_callbacks_are_completed_and_failed(shop: Console) -> None:
    shop.ok("start", "shop:Approval", "--id", "app-1")
    first, second = shop.ok("query", "app-1", "all_tokens", "--json").json
    assert "`sagas complete TOKEN VALUE`" in shop.ok("describe", "app-1").out
    shop.ok("complete", first, '{"ok": true}')
    shop.ok("fail", second, "no approval")
    assert shop.ok("result", "app-1", "--json").json == [{"ok": True}, "no approval"]
    for again in (shop.run("complete", first, "1"), shop.run("complete", "nonsense", "1")):
        assert again.code == 2


def test_a_saga_is_forked_and_reset_from_an_event_of_its_history(shop: Console) -> None:
    result = shop.ok("execute", "shop:book_trip", '{"city": "Rome"}', "--id", "trip-7", "--json").json
    events = shop.ok("history", "trip-7", "--json").lines
    at = str([event["position"] for event in events if event["event"] == "StepScheduled"][1])
    assert shop.ok("fork", "trip-7", "--event", at, "--id", "trip-8").out == "trip-8\n"
    assert shop.ok("result", "trip-8", "--json").json == result
    assert "RunForked" in shop.ok("history", "trip-8").out
    reset = shop.ok("reset", "trip-7", "--event", at, "--json").json
    assert reset["id"] == "trip-7"
    assert reset["run_id"] != events[0]["run_id"]
    assert shop.ok("result", "trip-7", "--run", reset["run_id"], "--json").json == result
    refused = shop.run("fork", "trip-7", "--event", "999")
    assert (refused.code, refused.out) == (2, "")
    assert "event 999 is not in this history" in refused.err


def test_dead_letters_are_shown_and_redelivered(shop: Console) -> None:
    shop.ok("start", "shop:Subscription", "u1", "--id", "sub-3")
    shop.ok("signal", "sub-3", "no_such", "1", "--message-id", "lost-1")
    shop.ok("query", "sub-3", "state")
    assert "1, see `sagas letters sub-3`" in shop.ok("describe", "sub-3").out
    (letter,) = shop.ok("letters", "sub-3", "--json").lines
    assert (letter["message_id"], letter["name"], letter["args"]) == ("lost-1", "no_such", [1])
    assert "lost-1" in shop.ok("letters", "sub-3").out
    shop.ok("redeliver", "sub-3", "lost-1", "--by", "anna")
    shop.ok("query", "sub-3", "state")
    names = [event["event"] for event in shop.ok("history", "sub-3", "--json").lines]
    assert names.count("SignalDeadLettered") == 2
    assert shop.run("redeliver", "sub-3", "7").code == 2
    shop.ok("terminate", "sub-3")


def test_pause_resume_and_terminate(shop: Console) -> None:
    shop.ok("start", "shop:nap", "86400", "--id", "nap-1")
    assert "it sleeps until" in shop.ok("describe", "nap-1").out
    shop.ok("pause", "nap-1", "--by", "anna")
    shop.ok("resume", "nap-1", "--by", "bert")
    shop.ok("terminate", "nap-1", "--reason", "slept enough")
    shop.ok("start", "shop:nap", "1", "--id", "nap-2", "--delay", "86400.5")
    assert "it sleeps until" in shop.ok("describe", "nap-2").out
    shop.ok("cancel", "nap-2")
    ended = shop.run("result", "nap-1")
    assert ended.code == 1
    assert "slept enough" in ended.err
    events = {event["event"]: event for event in shop.ok("history", "nap-1", "--json").lines}
    assert (events["Paused"]["by"], events["Resumed"]["by"]) == ("anna", "bert")


def test_a_parked_saga_says_why_and_what_to_do(shop: Console) -> None:
    shop.ok("start", "shop:buggy", "--id", "bug-1")
    parked = shop.run("result", "bug-1")
    assert parked.code == 1
    assert "KeyError: 'a bug'" in parked.err
    described = shop.ok("describe", "bug-1").out
    assert "it is parked: KeyError: 'a bug'" in described
    assert "sagas resume bug-1" in described
    assert "bug-1" in shop.ok("list", "parked != ''").out
    shop.ok("cancel", "bug-1", "--reason", "give it up")
    cancelled = shop.run("result", "bug-1", "--timeout", "60")
    assert cancelled.code == 1
    assert "was cancelled: give it up" in cancelled.err


def test_ids_conflict_as_the_options_say(shop: Console) -> None:
    first = shop.ok("start", "shop:nap", "86400", "--id", "nap-2", "--json").json
    refused = shop.run("start", "shop:nap", "86400", "--id", "nap-2")
    assert refused.code == 2
    assert "was started before" in refused.err
    again = shop.ok("start", "shop:nap", "86400", "--id", "nap-2", "--on-conflict", "use_existing", "--json").json
    assert again == first
    other = shop.ok("start", "shop:nap", "0", "--id", "nap-2", "--on-conflict", "terminate_existing", "--json").json
    assert other["run_id"] != first["run_id"]
    assert shop.ok("result", "nap-2").out == "rested\n"
    assert shop.run("result", "nap-2", "--run", first["run_id"]).code == 1
    reused = shop.run("start", "shop:nap", "0", "--id", "nap-2", "--on-reuse", "reject")
    assert reused.code == 2


def test_a_bare_name_starts_what_a_host_knows(shop: Console) -> None:
    assert shop.ok("execute", "nap", "0").out == "rested\n"


def test_a_type_that_no_host_knows_waits_for_code(shop: Console) -> None:
    shop.ok("start", "refurbish", "--id", "unknown-1")
    described = shop.ok("describe", "unknown-1").out
    assert "refurbish" in described
    assert "sagas dev MODULE" in described


def test_a_result_cannot_steer_the_terminal(shop: Console) -> None:
    assert shop.ok("execute", "shop:echo", "\x1b[2Jred").out == "\\x1b[2Jred\n"
    assert shop.ok("execute", "shop:echo", "\x1b[2Jred", "--json").json == "\x1b[2Jred"


def test_waiting_ends_at_the_timeout(shop: Console) -> None:
    answer = shop.run("execute", "shop:nap", "86400", "--id", "nap-3", "--timeout", "0.2")
    assert answer.code == 1
    assert "has not ended within 0.2 s" in answer.err
    assert "sagas describe nap-3" in answer.err


def test_ctrl_c_stops_the_waiting_and_not_the_saga(shop: Console) -> None:
    waiting = shop.open("execute", "shop:nap", "86400", "--id", "nap-4")
    with waiting:
        # The instance has been taken, so the command is past its start, and waits.
        while shop.run("describe", "nap-4").code != 0:
            assert waiting.poll() is None
        waiting.send_signal(signal.SIGINT)
        said, _ = waiting.communicate()
    assert waiting.returncode == 130
    assert "Traceback" not in said
    assert shop.ok("describe", "nap-4", "--json").json["status"] == "running"


def test_the_list_is_a_table_that_says_when_it_is_cut(shop: Console) -> None:
    for number in range(3):
        shop.ok("start", "shop:nap", "0", "--id", f"listed-{number}")
        shop.ok("result", f"listed-{number}")
    answer = shop.ok("list", "type = 'nap' and status = 'completed'", "--limit", "2")
    header, *rows = answer.out.splitlines()
    assert header.split()[:3] == ["id", "type", "status"]
    assert len(rows) == 2
    assert "more than these 2" in answer.err
    assert len(shop.ok("list", "type = 'nap'", "--json").lines) >= 3


def test_a_reader_that_has_read_enough_is_no_error(shop: Console) -> None:
    listing = shop.open("list", "--json")
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.wait() == 0


def test_another_folder_or_url_is_named_by_an_option(shop: Console, tmp_path: Path) -> None:
    elsewhere = Console(tmp_path)
    data = shop.folder / ".sagas"
    url = (data / "url").read_text().strip()
    assert elsewhere.run("list").code == 3
    assert elsewhere.run("list", "--data", str(data)).code == 0
    assert elsewhere.run("list", "--url", url).code == 0
    assert elsewhere.run("list", SAGAS_URL=url).code == 0


def test_a_namespace_has_its_own_sagas(shop: Console) -> None:
    answer = shop.ok("list", "--namespace", "other")
    assert answer.out == ""
    assert "no host is running in namespace 'other'" in answer.err


@pytest.mark.parametrize("command", ["describe", "history", "result", "trace", "cancel"])
def test_an_id_that_never_was(shop: Console, command: str) -> None:
    answer = shop.run(command, "nobody")
    assert (answer.code, answer.out) == (2, "")
    assert "no saga with id 'nobody'" in answer.err


def test_without_a_host_everything_is_accepted_and_says_so(hostless: Console) -> None:
    started = hostless.ok("start", "shop:nap", "1", "--id", "nap-5")
    assert started.out == "nap-5\n"
    assert "no host is running" in started.err
    described = hostless.ok("describe", "nap-5").out
    assert "no host has taken it yet" in described
    assert "sagas dev MODULE" in described
    assert "no history yet" in hostless.ok("history", "nap-5").err
    assert "none that a host has taken" in hostless.ok("list").err
    assert "no host is running" in hostless.ok("signal", "nap-5", "wake").err


def test_the_doctor_looks_at_the_server_and_the_disk(hostless: Console) -> None:
    findings = hostless.ok("doctor", "--json").lines
    assert {"version", "maxmemory-policy", "appendfsync", "fsync"} <= {finding["subject"] for finding in findings}
    assert "noeviction" in hostless.ok("doctor").out


def test_what_has_ended_can_be_deleted_and_what_runs_stays(shop: Console) -> None:
    for n in (1, 2):
        shop.ok("execute", "shop:book_trip", '{"city": "Rome"}', "--id", f"gone-{n}", "--json")
    assert "gone-1 is deleted" in shop.ok("delete", "gone-1").err
    assert shop.run("describe", "gone-1").code == 2
    shop.ok("start", "shop:Subscription", "500", "--id", "stays-1")
    refused = shop.run("delete", "stays-1")
    assert (refused.code, refused.out) == (1, "")
    assert "has not ended" in refused.err
    assert "1 deleted" in shop.ok("erase", "id = 'gone-2'").err
    kept = shop.run("erase", "id = 'stays-1'")
    assert kept.code == 1
    assert "stays-1 has not ended, and stays" in kept.err
