"""What a difference between a node's records and the hub's means: pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from telemed.numbers import Run
from telemed.reconcile import Mark, digest
from telemed.v1 import reconcile_pb2

from cloud_hub.store.holdings import Holding


@dataclass(frozen=True, slots=True)
class Findings:
    """What is to be done about one block."""

    missing: tuple[int, ...]
    """The node holds them and the hub does not: to be asked for again."""
    differing: tuple[int, ...]
    """Both hold them, and not alike: the hub's stand."""
    gone: tuple[int, ...]
    """Neither holds them sound."""


def is_same(block: reconcile_pb2.BlockHash, ours: Holding) -> bool:
    """Whether nothing of a block has to be looked at one by one: whole on both sides, and alike."""
    is_whole = len(ours.marks) == block.records == block.last - block.first + 1
    return is_whole and not ours.vague and digest(ours.in_order()) == block.sha256


def judge(run: Run, theirs: Iterable[Mark], ours: Holding, excused: Collection[int]) -> Findings:
    """Return what is to be done about a block of which the node told every record that it holds sound.

    Args:
        run: numbers of the block.
        theirs: what the node holds; numbers outside the block are passed over.
        ours: what the hub holds.
        excused: numbers that nobody misses: declared shed, or never acknowledged.
    """
    first, last = run
    told = {mark.seq: mark for mark in theirs if first <= mark.seq <= last}
    return Findings(
        missing=tuple(sorted(told.keys() - ours.marks.keys())),
        differing=tuple(sorted(seq for seq, mark in told.items() if seq in ours.marks and not ours.agrees(mark))),
        gone=tuple(
            seq for seq in range(first, last + 1) if seq not in told and seq not in ours.marks and seq not in excused
        ),
    )
