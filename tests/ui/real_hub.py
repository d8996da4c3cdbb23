"""The hub's real HTTP face with its built pages over the small region of the role matrix, in a thread of the test."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from telemed.roles import Role

from cloud_hub.access.passwords import hash_password
from cloud_hub.access.sign_in import Access, SecondFactor
from cloud_hub.config import ArchiveConfig
from cloud_hub.imaging.archive import Archive
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.fetching import Fetching
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world


@dataclass(frozen=True, slots=True)
class RealHub:
    """A hub that serves: its address ends in a slash, its application is there to be set up."""

    address: str
    app: FastAPI

    @property
    def access(self) -> Access:
        found: Access = self.app.state.access
        return found


@contextmanager
def hub(
    folder: Path,
    fill: Callable[[Database], Images] | None = None,
    *,
    second_factor: bool = True,
    archive: ArchiveConfig | None = None,
) -> Iterator[RealHub]:
    """Serve a hub, whose physicians need a second factor unless it is told otherwise.

    `fill` puts images in before anything is served; without it there is no archive either.
    """
    stores = Stores(
        Database(f"sqlite:///{folder}/care.db", CARE, "care"),
        Database(f"sqlite:///{folder}/samples.db", SAMPLES, "samples"),
    )
    for database in (stores.care, stores.samples):
        database.migrate()
    world.fill(stores, hash_password(world.PASSWORD))
    with ThreadPoolExecutor(1) as aside:  # the browser's own loop runs in this thread
        images = aside.submit(fill, stores.care).result() if fill else None
        fetching = _fetching(stores.care, images, archive)
        app: FastAPI = aside.submit(asyncio.run, world.build(stores, time.time_ns, images, fetching)).result()
    if second_factor:
        app.state.access.second = SecondFactor(frozenset({Role.PHYSICIAN}))
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(_serve(server, listening, images, fetching)))
        thread.start()
        try:
            yield RealHub(f"http://localhost:{listening.getsockname()[1]}/", app)
        finally:
            server.should_exit = True
            thread.join(10)
    for database in (stores.care, stores.samples):
        database.close()


def _fetching(care: Database, images: Images | None, archive: ArchiveConfig | None) -> Fetching | None:
    if images is None or archive is None:
        return None
    return Fetching(care, images, Archive(archive, images.largest_file_bytes), time.time_ns)


async def _serve(
    server: uvicorn.Server, listening: socket.socket, images: Images | None, fetching: Fetching | None
) -> None:
    running = asyncio.create_task(fetching.run()) if fetching else None
    try:
        await server.serve(sockets=[listening])
    finally:
        if running is not None:
            running.cancel()
        if images is not None:
            await images.readers.close()
        # What did not end in time is not left to the garbage collector, which a later test would hear of.
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
