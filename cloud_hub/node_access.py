"""By what the hub knows its nodes: secrets on loopback (the demo), else certificates (decisions 15 and 34)."""

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog
from telemed.topics import NodeAddress

from cloud_hub.access import overlap
from cloud_hub.access.authorities import Elsewhere, Trusted
from cloud_hub.access.authority_chain import Names
from cloud_hub.access.ca_folder import CaFolder, look_at, open_folder
from cloud_hub.access.deny_list import DenyList
from cloud_hub.access.enrolment import Enrolment, Rules
from cloud_hub.broker_rights import User, Users, load_users
from cloud_hub.config import HubConfig, PkiConfig
from cloud_hub.errors import ConfigRefused, StoreFailure
from cloud_hub.ingest.datagram_proof import CertificateProver, Prover, SecretProver
from cloud_hub.rpc.doorway import DoorParts, Doorway, ServerCredentials, secured
from cloud_hub.rpc.identity import CertificateIdentity, Identity, SecretIdentity
from cloud_hub.store import node_certificates
from cloud_hub.store.engine import Database

LOOK_EVERY_S = 5.0
"""How soon a revocation by the command line, or by another process of the hub, is seen."""
MODEL_ROOT_LIMIT_BYTES = 8 * 1024
"""It travels in the answer to an enrolment, beside two certificates."""
WARN_DAYS = 90
"""So long before its authority's end, operators are told."""
DAY = timedelta(days=1)
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
        self.folder = _settled(config, pki, care)
        self.deny = DenyList()
        self.users = Users({})
        self.enrolment = enrolment(config, pki, self.folder.known)
        self.credentials: ServerCredentials | None = secured(self.folder)
        self.note: Note = _nothing
        self.on_nodes: Callable[[], None] = lambda: None
        """Told when `users` changed."""
        self._one_look = asyncio.Lock()
        self._one_writer = threading.Lock()
        self._to_write: frozenset[str] = frozenset()
        self._written: frozenset[str] | None = None
        """Serial numbers that stand in the authority's folder as revoked; None: not looked at yet."""
        self._issued_ns: dict[str, int] = {}
        """When certificates were issued, by number; kept where the key of an earlier authority is gone."""
        self._left_out: tuple[int, ...] = ()
        """Authorities that an external broker is told to trust no more."""
        self._has_lists = config.broker.kind == "external"
        self._is_told = False
        self._warned_at = datetime.min.replace(tzinfo=UTC)
        parts = DoorParts(care, self.enrolment, self.folder, self.look, self._note, model_root(pki))
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
            ConfigRefused: it differs from what stands in the authority's folder, and cannot be written there.
            StoreFailure: the database does not answer.
        """
        await self.look()
        if self._written is None:
            # The brokers would let in whoever was revoked since the folder was written.
            raise ConfigRefused(f"pki.folder: {self.folder.folder}: the list of the revoked cannot be written")

    async def run(self) -> None:
        """Keep what is revoked current, and the door open, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.door.run())
            group.create_task(self._keep_looking())

    async def look(self) -> None:
        """Take in what is revoked and who is enrolled, as the database has it now; listeners are told.

        What cannot be written to the authority's folder is said in the log, and tried again at the next look.

        Raises:
            StoreFailure: the database does not answer.
        """
        # One after the other: an earlier answer of the database must not take the place of a later one.
        async with self._one_look:
            denied = await self._care.read(self.enrolment.denied)
            nodes = await self._care.read(lambda c: node_certificates.live_nodes(c, self._region, time.time_ns()))
            if any(each.authority is None for each in self.folder.former):
                rows = await self._care.read(lambda c: node_certificates.of_region(c, self._region))
                self._issued_ns = {row.serial: row.issued_ns for row in rows}
            self._take(nodes)
            self._warn(_now())
            # Before anybody is told: the brokers read the folder.
            late = await self._write(denied)
            self.deny.replace(denied)
            self.deny.tell(late)

    def authority_days(self, now: datetime | None = None) -> int | None:
        """Return in how many whole days the hub's authority ends, negative afterwards; None while that is far."""
        days = math.floor(self.folder.authority.days_left(now or _now()))
        return days if days < WARN_DAYS else None

    def _warn(self, now: datetime) -> None:
        """Say once a day that the authority ends soon."""
        days = self.authority_days(now)
        if days is not None and abs(now - self._warned_at) >= DAY:
            self._warned_at = now
            log.warning("authority-ends-soon" if days >= 0 else "authority-ended", days=days)

    def _take(self, nodes: list[NodeAddress]) -> None:
        known = {address.node: User(address.node, b"", address) for address in nodes}
        known[self._hub_user] = User(self._hub_user, b"", None)
        is_changed = known != self.users.by_name
        self.users.by_name = known
        if is_changed:
            self.on_nodes()

    async def _write(self, denied: Mapping[str, NodeAddress]) -> set[NodeAddress]:
        """Write what is revoked; return the nodes that were told of before it could be written."""
        before = self._written or frozenset()
        self._to_write = frozenset(denied)
        try:
            await asyncio.to_thread(self._write_denied)
        except OSError as error:
            if not self._is_told:
                log.error("deny-list-not-written", why=f"{error.filename or self.folder.folder}: {error.strerror}")
            self._is_told = True
            return set()
        self._is_told = False
        is_late = {serial for serial in denied if serial not in before and self.deny.is_denied(serial)}
        return {denied[serial] for serial in is_late}

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

    def _write_denied(self) -> None:
        # A look that is cancelled leaves its thread behind: the next one waits for it, and the newest list counts.
        with self._one_writer:
            serials = self._to_write
            if serials != self._written:
                left_out = self.folder.write_denied(serials, _now(), self._issued_ns)
                self._written = serials
                self._tell_left_out(left_out)

    def _tell_left_out(self, numbers: tuple[int, ...]) -> None:
        """Say once of which authorities an external broker can be told no more who is revoked."""
        if self._has_lists and numbers != self._left_out:
            self._left_out = numbers
            log.error("authorities-without-list", numbers=numbers)


def make(config: HubConfig, care: Database) -> NodeAccess:
    """Return how the nodes of this configuration are known.

    Raises:
        ConfigRefused: secrets or authority cannot be used.
    """
    return BySecrets(config) if config.pki is None else ByCertificates(config, config.pki, care)


def _settled(config: HubConfig, pki: PkiConfig, care: Database) -> CaFolder:
    """Return the authority of a configuration; earlier ones that no node is bound to are trusted no more."""
    folder = open_authority(config, pki)
    try:
        is_changed = overlap.settle(folder, care, time.time_ns(), timedelta(hours=pki.grace_hours))
    except (OSError, ValueError) as error:
        raise ConfigRefused(f"pki.folder: {pki.folder}: {error}") from error
    return open_authority(config, pki) if is_changed else folder


def open_authority(config: HubConfig, pki: PkiConfig) -> CaFolder:
    """Return the authority of a configuration, made where it is not there yet.

    For the start of a hub alone: whatever the configuration names is taken in for good.

    Raises:
        ConfigRefused: the folder cannot be used.
    """
    names = names_of(config, pki)
    return open_folder(pki.folder, names.region, names.hosts, names.user, _elsewhere(pki))


def look_at_authority(config: HubConfig, pki: PkiConfig) -> tuple[Trusted, ...]:
    """Return the authorities that the next start will have, the oldest first; nothing is made or taken in.

    Raises:
        ConfigRefused: that start would be refused.
    """
    names = names_of(config, pki)
    return look_at(pki.folder, names.region, names.hosts, names.user, _elsewhere(pki))


def _elsewhere(pki: PkiConfig) -> Elsewhere | None:
    if pki.authority_file is None or pki.authority_key_file is None:
        return None
    return Elsewhere(pki.authority_file, pki.authority_key_file)


def names_of(config: HubConfig, pki: PkiConfig) -> Names:
    """Return by what the hub is called in certificates."""
    return Names(config.region, tuple(dict.fromkeys((*pki.names, *LOCAL))), config.broker.user)


def model_root(pki: PkiConfig) -> bytes:
    """Return the root of trust of model bundles that nodes are given; empty where there is none.

    Raises:
        ConfigRefused: the file cannot be read, or is none.
    """
    path = pki.model_root_file
    if path is None:
        return b""
    try:
        found = path.read_bytes()
        is_root = json.loads(found)["signed"]["_type"] == "root"
    except OSError as error:
        raise ConfigRefused(f"pki.model_root_file: {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        is_root = False
    if not is_root or len(found) > MODEL_ROOT_LIMIT_BYTES:
        raise ConfigRefused(f"pki.model_root_file: {path} is no root of trust (python -m deploy.bundles begin)")
    return found


def enrolment(config: HubConfig, pki: PkiConfig, known: Sequence[Trusted]) -> Enrolment:
    """Return what decides who gets a certificate; no node gets one of the hub's name at its broker.

    Args:
        config: of the hub.
        pki: a part of it.
        known: the hub's authorities, the oldest first; the last one issues, and has its key.
    """
    issuing = known[-1].authority
    assert issuing is not None
    rules = Rules(config.region, timedelta(hours=pki.node_hours), timedelta(hours=pki.grace_hours), config.broker.user)
    return Enrolment(issuing, rules, time.time_ns, [each.certificate for each in known[:-1]])


def _now() -> datetime:
    return datetime.now(UTC)
