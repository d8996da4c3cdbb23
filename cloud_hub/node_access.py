"""By what the hub knows its nodes: secrets on loopback (the demo), else certificates (decisions 15 and 34)."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog
from telemed.topics import NodeAddress

from cloud_hub.access import device_ca
from cloud_hub.access.ca_folder import CaFolder, open_folder
from cloud_hub.access.deny_list import DenyList
from cloud_hub.access.enrolment import Enrolment, Rules
from cloud_hub.broker_rights import User, Users, load_users
from cloud_hub.config import HubConfig, PkiConfig
from cloud_hub.errors import StoreFailure
from cloud_hub.ingest.datagram_proof import CertificateProver, Prover, SecretProver
from cloud_hub.rpc.doorway import DoorParts, Doorway, ServerCredentials, secured
from cloud_hub.rpc.identity import CertificateIdentity, Identity, SecretIdentity
from cloud_hub.store import node_certificates
from cloud_hub.store.engine import Database
from cloud_hub.store.node_certificates import CertificateRow

LOOK_EVERY_S = 5.0
"""How soon a revocation by the command line, or by another process of the hub, is seen."""
LOCAL = ("localhost", "127.0.0.1", "::1")

Note = Callable[[NodeAddress, str], None]
log = structlog.get_logger()


def _nothing(_node: NodeAddress, _code: str) -> None:
    """Take no notice."""


class NodeAccess(Protocol):
    """How nodes are known."""

    users: Users
    """Who may use the broker, by name; kept current."""
    deny: DenyList
    credentials: ServerCredentials | None
    """Of the gRPC port; None: no TLS."""
    note: Note
    """Told of a node whose token or certificate somebody should not have; set by whoever joins the parts."""

    def identity(self) -> Identity:
        """Return who judges gRPC calls."""

    def prover(self) -> Prover:
        """Return who judges sessions of datagrams."""

    async def load(self) -> None:
        """Take in what is revoked, before any listener is open; the care store is migrated."""

    async def run(self) -> None:
        """Keep what is revoked current, and the door open, until cancelled."""


class BySecrets:
    """Nodes are known by the secrets file of the broker."""

    def __init__(self, config: HubConfig) -> None:
        """Read the secrets.

        Raises:
            ConfigRefused: they cannot be used.
        """
        self._file = config.broker.secrets_file
        self.users = load_users(self._file)
        self.deny = DenyList()
        self.credentials: ServerCredentials | None = None
        self.note: Note = _nothing

    def identity(self) -> Identity:
        """Return who judges gRPC calls."""
        return SecretIdentity(self.users)

    def prover(self) -> Prover:
        """Return who judges sessions of datagrams."""
        return SecretProver(self._file)

    async def load(self) -> None:
        """Do nothing: secrets change with the configuration alone."""

    async def run(self) -> None:
        """Do nothing: secrets change with the configuration alone."""


class ByCertificates:
    """Nodes are known by certificates of the hub's own authority."""

    def __init__(self, config: HubConfig, pki: PkiConfig, care: Database) -> None:
        """Open the authority's folder, and no port yet.

        Raises:
            ConfigRefused: the folder cannot be used.
        """
        self._region, self._care, self._hub_user = config.region, care, config.broker.user
        self.folder = open_authority(config, pki)
        self.deny = DenyList()
        self.users = Users({})
        self.enrolment = enrolment(self.folder, pki)
        self.credentials: ServerCredentials | None = secured(self.folder)
        self.deny.on_change.append(self._write_denied)
        self.note: Note = _nothing
        self.on_nodes: Callable[[], None] = lambda: None
        """Told when `users` changed."""
        self._one_look = asyncio.Lock()
        parts = DoorParts(care, self.enrolment, self.folder, self.look, self._note)
        self.door = Doorway(pki, parts)

    def identity(self) -> Identity:
        """Return who judges gRPC calls."""
        return CertificateIdentity(self._region, self.deny, _now)

    def prover(self) -> Prover:
        """Return who judges sessions of datagrams."""
        return CertificateProver(self.folder, self.deny, _now)

    async def load(self) -> None:
        """Take in what is revoked, before any listener is open; the care store is migrated.

        Raises:
            StoreFailure: the database does not answer.
        """
        await self.look()
        self._write_denied(self.deny.serials)

    async def run(self) -> None:
        """Keep what is revoked current, and the door open, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.door.run())
            group.create_task(self._keep_looking())

    async def look(self) -> None:
        """Take in what is revoked and who is enrolled, as the database has it now; listeners are told.

        Raises:
            StoreFailure: the database does not answer.
        """
        # One after the other: an earlier answer of the database must not take the place of a later one.
        async with self._one_look:
            denied = await self._care.read(self.enrolment.denied)
            rows = await self._care.read(lambda c: node_certificates.of_region(c, self._region))
            self._take(rows, denied)

    def _take(self, rows: list[CertificateRow], denied: dict[str, NodeAddress]) -> None:
        now_ns = time.time_ns()
        nodes = {row.address.node: row.address for row in rows if not row.revoked_ns and row.ends_ns > now_ns}
        known = {name: User(name, b"", address) for name, address in nodes.items()}
        known[self._hub_user] = User(self._hub_user, b"", None)
        is_changed = known != self.users.by_name
        self.users.by_name = known
        if is_changed:
            self.on_nodes()
        self.deny.replace(denied)

    async def _keep_looking(self) -> None:
        is_told = False
        while True:
            try:
                await self.look()
                is_told = False
            except StoreFailure as failure:
                # What is denied stays denied; nobody is let in again because the store is away.
                if not is_told:
                    log.warning("deny-list-not-read", code=failure.code)
                is_told = True
            await asyncio.sleep(LOOK_EVERY_S)

    def _note(self, node: NodeAddress, code: str) -> None:
        self.note(node, code)

    def _write_denied(self, serials: frozenset[str]) -> None:
        crl = device_ca.revocation_list(self.folder.authority, serials, _now())
        self.folder.write_denied(serials, crl)


def make(config: HubConfig, care: Database) -> NodeAccess:
    """Return how the nodes of this configuration are known.

    Raises:
        ConfigRefused: secrets or authority cannot be used.
    """
    return BySecrets(config) if config.pki is None else ByCertificates(config, config.pki, care)


def open_authority(config: HubConfig, pki: PkiConfig) -> CaFolder:
    """Return the authority of a configuration, made where it is not there yet.

    Raises:
        ConfigRefused: the folder cannot be used.
    """
    hosts = list(dict.fromkeys((*pki.names, *LOCAL)))
    return open_folder(pki.folder, config.region, hosts, config.broker.user)


def enrolment(folder: CaFolder, pki: PkiConfig) -> Enrolment:
    """Return what decides who gets a certificate."""
    rules = Rules(folder.region, timedelta(hours=pki.node_hours), timedelta(hours=pki.grace_hours))
    return Enrolment(folder.authority, rules, time.time_ns)


def _now() -> datetime:
    return datetime.now(UTC)
