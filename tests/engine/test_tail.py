"""What a host remembers of acknowledged batches: long enough, not too much, and each shard's apart."""

from __future__ import annotations

from sagas.engine.shard import Shard
from sagas.engine.tail import KEEP_S, Tail, under, written_again
from sagas.store.port import Batch, Claim, Token, Transition

TOKEN = Token(counter=4, nonce="n")
LATER = Token(counter=9, nonce="n")


def shard(number: int = 1) -> Shard:
    return Shard(claim=Claim(shard=number, token=TOKEN, sequence=0), sequence=0)


def batch(sequence: int, size: int = 1, closes: bool = False) -> Batch:
    step = Transition(
        id="a",
        run_id="r",
        version=0,
        chunk=b"x" * size,
        head=b"h",
        timer_ms=None,
        busy=False,
        steps=None,
        closes=closes,
        notice=b"n",
    )
    return Batch(shard=1, token=TOKEN, sequence=sequence, transitions=(step,))


def sequences(tail: Tail, of: Shard, since: int = 0) -> list[int]:
    return [each.sequence for each in tail.since(of, since)]


def test_a_batch_stays_for_its_time_and_then_goes() -> None:
    tail, mine = Tail(), shard()
    for sequence in (1, 2, 3):
        tail.keep(mine, batch(sequence), float(sequence))
    tail.trim(1 + KEEP_S)
    assert sequences(tail, mine) == [1, 2, 3]
    tail.trim(2.5 + KEEP_S)
    assert sequences(tail, mine) == [3]
    assert sequences(tail, mine, 3) == []


def test_the_oldest_of_all_shards_go_when_there_are_too_many() -> None:
    one, other = shard(1), shard(2)
    tail = Tail(limit_bytes=5000)
    tail.keep(one, batch(1, 1000), 0)
    tail.keep(other, batch(1, 1000), 0)
    tail.keep(one, batch(2, 1000), 0)
    assert (sequences(tail, one), sequences(tail, other)) == ([1, 2], [1])
    tail.keep(other, batch(2, 1000), 0)
    assert (sequences(tail, one), sequences(tail, other)) == ([2], [1, 2])
    tail.keep(other, batch(3, 10_000), 0)
    assert tail.shards() == []


def test_a_shard_taken_again_is_another_one() -> None:
    tail, before, after = Tail(), shard(), shard()
    tail.keep(before, batch(1), 0)
    tail.keep(after, batch(2), 0)
    assert (sequences(tail, before), sequences(tail, after)) == ([1], [2])
    tail.forget(before)
    assert (sequences(tail, before), sequences(tail, after)) == ([], [2])
    assert [each is after for each in tail.shards()] == [True]


def test_what_was_written_again_can_be_lost_again() -> None:
    tail, mine, other = Tail(), shard(), shard(2)
    tail.keep(mine, batch(1), 0)
    tail.keep(other, batch(1), 1)
    tail.keep(mine, batch(2), 2)
    tail.renew(mine, 10)
    tail.trim(10 + KEEP_S)
    assert (sequences(tail, mine), sequences(tail, other)) == ([1, 2], [])


def test_a_batch_written_again_keeps_its_origins_and_its_end_stands() -> None:
    again = written_again(batch(5, closes=True), LATER)
    assert (again.token, again.epoch, again.sequence) == (LATER, TOKEN.counter, 5)
    assert [(step.closes, step.notice) for step in again.transitions] == [(False, b"n")]
    assert written_again(again, Token(counter=12, nonce="n")).epoch == TOKEN.counter
    new = under(batch(6, closes=True), LATER)
    assert (new.token, new.epoch, new.transitions[0].closes) == (LATER, TOKEN.counter, True)
