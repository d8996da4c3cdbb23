"""Work that is done when it is told of, and now and then whatever was missed."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from cloud_hub.errors import StoreFailure

SWEEP_EVERY_S = 600.0
AFTER_FAILURE_S = 5.0

log = structlog.get_logger(__name__)


async def sweep(
    awake: asyncio.Event, work: Callable[[], Awaitable[object]], forget: Callable[[], None], failed: str
) -> None:
    """Work until cancelled.

    Args:
        awake: set by whoever has something to do.
        work: does what is due; raises StoreFailure or OSError where store or disk fail, and is tried again soon.
        forget: makes the next work look at everything, not only at what came since.
        failed: what the log says where it fails.
    """
    while True:
        awake.clear()
        try:
            await work()
            wait_s = SWEEP_EVERY_S
        except (StoreFailure, OSError) as failure:
            log.warning(failed, why=type(failure).__name__)
            wait_s = AFTER_FAILURE_S
        try:
            async with asyncio.timeout(wait_s):
                await awake.wait()
        except TimeoutError:
            forget()
