"""What a difference between node and hub means."""

from telemed.reconcile import Mark, digest
from telemed.v1 import reconcile_pb2

from cloud_hub.rpc.differences import Findings, is_same, judge
from cloud_hub.store.holdings import Holding

MARKS = [Mark(seq, seq * 7, seq * 9) for seq in range(1, 6)]


def holding(*marks: Mark, vague: set[int] | None = None) -> Holding:
    return Holding({mark.seq: mark for mark in marks}, vague or set())


def block(marks: list[Mark], last: int = 5) -> reconcile_pb2.BlockHash:
    return reconcile_pb2.BlockHash(first=1, last=last, records=len(marks), sha256=digest(marks))


def test_a_block_is_the_same_only_whole_and_alike() -> None:
    assert is_same(block(MARKS), holding(*MARKS))
    assert not is_same(block(MARKS), holding(*MARKS[1:]))
    assert not is_same(block(MARKS), holding(*MARKS[:4], Mark(5, 1, 1)))
    assert not is_same(block(MARKS[1:]), holding(*MARKS[1:])), "both lack the same one"
    assert not is_same(block(MARKS), holding(*MARKS, vague={2}))


def test_what_the_node_alone_holds_is_missing_and_what_nobody_holds_is_gone() -> None:
    found = judge((1, 5), [MARKS[0], MARKS[1], MARKS[3]], holding(MARKS[0], MARKS[4]), set())
    assert found == Findings(missing=(2, 4), differing=(), gone=(3,))


def test_what_differs_is_neither_missing_nor_gone() -> None:
    assert judge((1, 5), MARKS, holding(*MARKS[:4], Mark(5, 1, 1)), set()) == Findings((), (5,), ())


def test_of_a_vague_record_the_payload_decides() -> None:
    ours = holding(Mark(1, 0, 9), *MARKS[1:], vague={1})
    assert judge((1, 5), MARKS, ours, set()) == Findings((), (), ())


def test_what_is_excused_is_not_gone_but_still_asked_for_where_the_node_has_it() -> None:
    assert judge((1, 5), MARKS[:2], holding(MARKS[0]), {2, 3, 4, 5}) == Findings((2,), (), ())


def test_numbers_outside_the_block_are_passed_over() -> None:
    assert judge((2, 2), MARKS, holding(), set()) == Findings((2,), (), ())
