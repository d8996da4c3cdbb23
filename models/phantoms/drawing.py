"""Many made-up subjects at once, on as many processors as there are."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

FEW = 64
"""Fewer than so many are drawn where one stands: another process takes longer to begin."""
_EACH = 8

R = TypeVar("R")


def in_parallel(draw: Callable[[int], R], seeds: Sequence[int]) -> tuple[R, ...]:
    """Return what is drawn of each seed, in their order."""
    jobs = len(os.sched_getaffinity(0))
    if len(seeds) < FEW or jobs < 2:
        return tuple(draw(seed) for seed in seeds)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("forkserver")) as pool:
        return tuple(pool.map(draw, seeds, chunksize=_EACH))
