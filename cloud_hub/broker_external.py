"""Keeps an external Mosquitto's rights and revocations current while the hub runs, and ends sessions of the revoked.

Mosquitto reads its access list and its certificates again at SIGHUP, but leaves open what is open: so that a revoked
node is also gone at once, the hub takes each of its connections over by their client ids and closes them.
"""

import asyncio
import contextlib
from pathlib import Path

import gmqtt
import structlog
from gmqtt.mqtt.constants import MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError
from telemed.topics import CONNECTIONS, NodeAddress

from cloud_hub.access import tls
from cloud_hub.access.ca_folder import CaFolder
from cloud_hub.broker_mosquitto import write_admitted, write_certified_settings
from cloud_hub.broker_rights import Users
from cloud_hub.config import BrokerConfig

RELOAD_WITHIN_S = 10.0
CONNECT_WITHIN_S = 5.0
AGAIN_S = 2.0
"""After a reload or a take-over that failed."""

log = structlog.get_logger()


class ExternalBroker:
    """Settings of a Mosquitto that somebody else starts; used on the event loop alone."""

    def __init__(self, config: BrokerConfig, folder: Path, authority: CaFolder, users: Users) -> None:
        """Write nothing yet.

        Args:
            config: where the broker is, and how it is told.
            folder: of its settings.
            authority: whose certificates count.
            users: who may do what; kept current by whoever calls `changed`.
        """
        self._config, self._folder, self._authority, self._users = config, folder, authority, users
        # Once: a successor of the authority that a command puts in place later is not known to the broker yet.
        self._context = tls.client(authority.folder)
        self._news = asyncio.Event()
        self._to_end: set[NodeAddress] = set()

    def changed(self) -> None:
        """Nodes came or went."""
        self._news.set()

    def denied(self, address: NodeAddress) -> None:
        """Certificates of a node were revoked, and stand in the authority's folder."""
        self._to_end.add(address)
        self._news.set()

    async def run(self) -> None:
        """Keep the broker current until cancelled; a broker that is away is told when it is back."""
        await asyncio.to_thread(
            write_certified_settings, self._authority, self._users, self._folder, self._config.host, self._config.port
        )
        is_told = False
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._tell()
                is_told = False
            except (OSError, MQTTConnectError) as error:
                if not is_told:
                    log.warning("broker-not-told", why=str(error) or type(error).__name__)
                is_told = True
                self._news.set()
                await asyncio.sleep(AGAIN_S)

    async def _tell(self) -> None:
        await asyncio.to_thread(write_admitted, self._authority, self._users, self._folder)
        await self._reload()
        for address in sorted(self._to_end, key=str):
            # Taken off before, not after: it may be denied once more meanwhile.
            self._to_end.discard(address)
            try:
                for connection in CONNECTIONS.values():
                    await self._take_over(f"{address.node}.{connection}")
            except (OSError, MQTTConnectError):
                self._to_end.add(address)
                raise
            log.info("broker-sessions-ended", node=address.node)

    async def _reload(self) -> None:
        if not self._config.reload_command:
            return
        process = await asyncio.create_subprocess_exec(*self._config.reload_command)
        try:
            async with asyncio.timeout(RELOAD_WITHIN_S):
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            raise OSError(f"broker.reload_command ended with {code}")

    async def _take_over(self, client_id: str) -> None:
        client = gmqtt.Client(client_id, clean_session=True)
        client.set_config({"reconnect_retries": -2, "reconnect_delay": 0})
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await client.connect(self._config.host, self._config.port, ssl=self._context, version=MQTTv311)
        finally:
            with contextlib.suppress(OSError, TimeoutError, RuntimeError, AttributeError):
                async with asyncio.timeout(1):
                    await client.disconnect()
