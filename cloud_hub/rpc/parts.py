"""What every call of the transfer needs, made once by the server."""

import asyncio
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from telemed.topics import NodeAddress

from cloud_hub.config import RpcConfig
from cloud_hub.errors import CallWasteful
from cloud_hub.rpc.metrics import TransferMetrics
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.transfers import Transfer

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 4
"""Of the disk: one may be reading a whole file while others write chunks."""


class Disk:
    """Runs what blocks on the disk in threads of its own."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self._threads = ThreadPoolExecutor(THREADS, "blobs")

    async def call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread and return its result; a caller that is cancelled no longer waits for it."""
        return await asyncio.wrap_future(self._threads.submit(work, *args, **kwargs))

    def later(self, work: Callable[[], None]) -> None:
        """Run `work` in a thread some time; nobody waits for it."""
        self._threads.submit(work)

    def close(self) -> None:
        """End the threads once their work is done; blocking."""
        self._threads.shutdown()


@dataclass(slots=True)
class Parts:
    """Stores, limits and what is counted."""

    config: RpcConfig
    region: str
    care: Database
    disk: Disk
    metrics: TransferMetrics
    clock: Callable[[], int]
    """Nanoseconds since the Unix epoch."""
    on_complete: Callable[[Transfer], None]
    """Called on the event loop after the commit that says that a file is whole."""
    _calls: Counter[NodeAddress] = field(default_factory=Counter)
    _locks: "weakref.WeakValueDictionary[str, asyncio.Lock]" = field(default_factory=weakref.WeakValueDictionary)

    @contextmanager
    def call_of(self, address: NodeAddress) -> Iterator[None]:
        """Count a call of a node while it lasts.

        Raises:
            CallWasteful: it has as many as it may have.
        """
        if self._calls[address] >= self.config.calls_per_node:
            raise CallWasteful(f"{address.node}: {self._calls[address]} calls are open")
        self._calls[address] += 1
        self.metrics.calls.inc()
        try:
            yield
        finally:
            self._calls[address] -= 1
            self.metrics.calls.dec()

    def lock_of(self, transfer_id: str) -> asyncio.Lock:
        """Return the lock under which one file is verified and named; kept as long as somebody has it."""
        return self._locks.setdefault(transfer_id, asyncio.Lock())
