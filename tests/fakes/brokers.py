"""Real brokers for tests: our own amqtt process and Mosquitto, each started, killed and started again."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from cloud_hub.broker import EmbeddedBroker
from cloud_hub.broker_mosquitto import write_settings
from cloud_hub.config import BrokerConfig
from cloud_hub.ingest.mqtt import BrokerLogin
from tests.fakes.ports import free_port

SECRETS = {
    "hub": {"secret": "hub-secret"},
    "edge-clinic": {"secret": "clinic-secret", "region": "baoshan", "site": "baoshan-clinic"},
    "edge-home": {"secret": "home-secret", "region": "baoshan", "site": "heming-home"},
}


def find_mosquitto() -> str | None:
    """Path of the Mosquitto program, None where it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class RunningBroker:
    """A broker under test."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self.secrets = folder / "secrets.json"
        self.secrets.write_text(json.dumps(SECRETS))
        self.config = BrokerConfig(port=self.port, secrets_file=self.secrets)
        self.embedded = EmbeddedBroker(self.config)
        self.pid: int | None = None
        self._folder = folder

    def login(self, user: str, secret: str | None = None) -> BrokerLogin:
        """How a user of the secrets file connects."""
        return BrokerLogin("127.0.0.1", self.port, user, SECRETS[user]["secret"] if secret is None else secret)

    def kill(self) -> None:
        """End the broker as a power cut would; it is started again by its watcher."""
        pid = self.embedded.pid if self.kind == "amqtt" else self.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    async def listening(self) -> None:
        """Wait until somebody listens on the port."""
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.02)

    async def keep_mosquitto(self, program: str) -> None:
        """Run Mosquitto, again whenever it ends."""
        config = write_settings(self.secrets, self._folder / "mosquitto", "127.0.0.1", self.port)
        # Started as root it changes to its own user, which must be able to come here.
        for folder in (config.parent, *config.parent.parents):
            if folder.owner() == config.parent.owner() and os.geteuid() == 0:
                folder.chmod(folder.stat().st_mode | 0o055)
        while True:
            process = await asyncio.create_subprocess_exec(
                program, "-c", str(config), stderr=asyncio.subprocess.DEVNULL
            )
            self.pid = process.pid
            try:
                await process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running_broker(kind: str, folder: Path) -> AsyncIterator[RunningBroker]:
    """Run a broker ("amqtt" or "mosquitto") while the block runs."""
    broker = RunningBroker(kind, folder)
    program = find_mosquitto()
    work = broker.embedded.run() if kind == "amqtt" else broker.keep_mosquitto(program or "")
    async with running(work):
        await broker.listening()
        yield broker


@contextlib.asynccontextmanager
async def running(*works: object) -> AsyncIterator[None]:
    """Run coroutines while the block runs; one that ends with an error fails the block."""
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    """Wait for something that another process brings about and that nothing announces."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
