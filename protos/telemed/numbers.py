"""Numbers of records: runs of them, and the epochs under which they are given out (pure)."""

from collections.abc import Iterable

Run = tuple[int, int]
"""First and last number of a run, both included."""


def runs(seqs: Iterable[int]) -> list[Run]:
    """Return numbers, each given once, as runs, ascending."""
    found: list[Run] = []
    for seq in sorted(seqs):
        if found and found[-1][1] == seq - 1:
            found[-1] = (found[-1][0], seq)
        else:
            found.append((seq, seq))
    return found


def epoch_text(epoch: int) -> str:
    """Return an epoch as the tables of both sides hold it: 64 bits do not fit a signed column."""
    return f"{epoch:016x}"
