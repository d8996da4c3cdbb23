"""Joins the parts of the hub and runs them in one task group."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector
from telemed.audit_seal import Seal, SealUnusable, open_seal
from telemed.errors import CertificateUnusable, Code
from telemed.page_certificate import PageCertificate
from telemed.topics import NodeAddress
from telemed.v1 import event_pb2

from cloud_hub import face, node_access, server
from cloud_hub.access.audit_heads import AuditHeads
from cloud_hub.access.ca_folder import PAGES, PAGES_KEY
from cloud_hub.access.sealing import load_or_make
from cloud_hub.access.seed import seed_accounts
from cloud_hub.access.sign_in import Access, Lifetimes, SecondFactor
from cloud_hub.broker import EmbeddedBroker
from cloud_hub.broker_certificates import Certified
from cloud_hub.broker_external import ExternalBroker
from cloud_hub.broker_notices import BrokerNotices
from cloud_hub.care.identifiers import uuid7
from cloud_hub.config import HubConfig
from cloud_hub.consult.signalling import Consults, Outlets
from cloud_hub.desk.alarm_times import AlarmTimes
from cloud_hub.desk.alarms import Alarms
from cloud_hub.desk.consents import Around, Consents
from cloud_hub.desk.intake import EventTaken, Intake, Taken
from cloud_hub.desk.notices import Notices
from cloud_hub.desk.referrals import Referrals
from cloud_hub.errors import ConfigRefused, HubError
from cloud_hub.imaging.archive import Archive
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.fetching import Fetching
from cloud_hub.imaging.indexing import Indexer
from cloud_hub.imaging.readers import Readers
from cloud_hub.imaging.verifying import Verifying
from cloud_hub.ingest import datagram
from cloud_hub.ingest.gateway import Ingest
from cloud_hub.reload import Reload
from cloud_hub.rpc.comparing import Reconciling
from cloud_hub.rpc.metrics import ReconcileMetrics
from cloud_hub.rpc.server import RpcServer
from cloud_hub.store import events, factors
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES
from cloud_hub.store.transfers import Transfer
from cloud_hub.web.live import Live, Stores
from cloud_hub.web.parts import NodeDesk, Parts

VERSION = "0.1.0"
STOP_WITHIN_S = 5.0
READY_POLL_S = 0.05
CONSULTS_KEPT_NS = 24 * 3600 * 10**9
"""How old a consult may be that goes on after a restart."""

log = structlog.get_logger()


class _Stopped(Exception):
    """Ends the task group: somebody asked the hub to stop."""


class Hub:
    """One hub process; `run` is called once."""

    def __init__(self, config: HubConfig, pids: Path | None = None, began: Callable[[], None] = lambda: None) -> None:
        """Open nothing yet.

        Args:
            config: the whole configuration.
            pids: file that is told the process ids of hub and broker, kept current; None = none.
            began: told once the hub can serve.

        Raises:
            ConfigRefused: a secret cannot be read.
        """
        self.config = config
        self._pids = pids
        self._began = began
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        care = Database(config.store.care_url, CARE, "care")
        samples = Database(config.store.samples_url, SAMPLES, "samples")
        self.stores = Stores(care, samples)
        self.nodes = node_access.make(config, care)
        self.live = Live(self.stores, config.region, config.silence_after_s)
        self.notices = Notices(care, config.region, self.live.noticed, time.time_ns)
        intake = Intake(self.live.take)
        intake.on_audit_fault = lambda address, _fault: self.notices.note(address, Code.AUDIT_BROKEN)
        self.ingest = Ingest(
            config,
            samples,
            care,
            intake=intake,
            events=events,
            registry=self.registry,
            sinks=[self.live],
        )
        self.ingest.note = self.notices.note
        self.nodes.note = self.notices.note
        self.consults = self._make_consults()
        self._readers = Readers(config.imaging)
        self._blobs = self._open_blobs() if config.rpc.enabled else None
        self._indexer = self._make_indexer()
        self._verifying = self._make_verifying()
        self._fetching = self._make_fetching()
        self._files = self._make_files() if config.rpc.enabled else None
        self._datagrams = self._make_datagrams() if config.ingest.datagram_enabled else None
        self.live.on_signal = self.consults.from_edge
        self.live.on_watched = self.ingest.downlink.watch
        if self._files is not None:
            self._files.reconciling = self._make_reconciling()
        self.alarm_times = AlarmTimes(care, samples, self.live.alarm_changed, time.time_ns)
        self.heads = AuditHeads(care, config.region, _seal(config.audit.folder), time.time_ns)
        self.ingest.downlink.audit_head = lambda: self.heads.newest
        self.ingest.agrees_with = self.heads.agrees_with
        faults = Gauge("hub_audit_faults", "How often the audit trail did not verify.", registry=self.registry)
        faults.set_function(lambda: self.heads.faults)
        if isinstance(self.nodes, node_access.ByCertificates):
            authority = self.nodes.folder.authority
            days = Gauge("hub_authority_days", "Days until the hub's authority ends.", registry=self.registry)
            days.set_function(lambda: authority.days_left(datetime.now(UTC)))
        pages = Gauge("hub_live_pages", "Pages that listen on the live socket.", registry=self.registry)
        pages.set_function(lambda: len(self.live.feeds))
        self.broker = self._make_broker() if config.broker.kind == "embedded" else None
        self._mosquitto = self._make_mosquitto()
        self._cut_the_denied()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then end everything in bounded time.

        Raises:
            ConfigRefused: the port is taken, or the secrets of the broker cannot be used.
            StoreFailure: a database cannot be opened.
        """
        listener, https = server.listen(self.config.web), self.config.web.https
        alarms = secure = None
        try:
            if https is not None:
                secure = server.listen(https)
            if self._datagrams is not None:
                alarms = datagram.listen(self.config.ingest.datagram_host, self.config.ingest.datagram_port)
            await self._open()
            built = face.build(
                self._parts(), await self._access(), self.registry, VERSION, self._images(), self._fetching
            )
            web = server.make(built)
            pages = [(web, listener)]
            certificate = self._page_certificate()
            if certificate is not None and secure is not None:
                pages.append((server.make(built, certificate.context), secure))
            async with asyncio.TaskGroup() as group:
                for optional in (
                    self.broker,
                    self._mosquitto,
                    self._files,
                    self._indexer,
                    self._verifying,
                    self._fetching,
                    certificate,
                ):
                    if optional is not None:
                        group.create_task(optional.run())
                if self._datagrams is not None and alarms is not None:
                    group.create_task(self._datagrams.run(alarms))
                for part in (
                    self.nodes.run(),
                    self._take_in(),
                    self.live.run(),
                    self.notices.run(),
                    self.alarm_times.run(),
                    self.heads.run(),
                    self.consults.run(),
                    self._say_ready(web),
                ):
                    group.create_task(part)
                serving = [group.create_task(each.serve(sockets=[at])) for each, at in pages]
                await stop.wait()
                log.info("stopping")
                for each, _ in pages:
                    each.stop()
                await asyncio.wait(serving, timeout=STOP_WITHIN_S)
                raise _Stopped
        except* _Stopped:
            log.info("stopped")
        finally:
            for opened in (listener, secure, alarms):
                if opened is not None:
                    opened.close()
            await self._readers.close()
            await asyncio.to_thread(self._close)

    async def _open(self) -> None:
        for database in (self.stores.care, self.stores.samples):
            await asyncio.to_thread(database.migrate)
        seed_file = self.config.accounts.seed_file
        if seed_file is not None:
            await asyncio.to_thread(seed_accounts, self.stores.care, seed_file, self.config.region)
        await self.nodes.load()
        await self.live.load()
        await self.notices.load()
        since_ns = time.time_ns() - CONSULTS_KEPT_NS
        logged = await self.stores.care.read(lambda c: events.of_type(c, self.config.region, "consult", since_ns))
        self.consults.restore({key: [row.event for row in rows] for key, rows in logged.items()})

    def _close(self) -> None:
        self.stores.samples.close()
        self.stores.care.close()

    async def _take_in(self) -> None:
        if self.broker is not None:
            await self.broker.ready()
        await self.ingest.run()

    async def _say_ready(self, web: server.Server) -> None:
        """Print the ready line once the hub can serve, for whoever started it."""
        while not (web.started and self.ingest.is_connected):  # noqa: ASYNC110 - neither has an event for it
            await asyncio.sleep(READY_POLL_S)
        self._write_pids()
        self._began()
        host = f"[{self.config.web.host}]" if ":" in self.config.web.host else self.config.web.host
        print(f"cloud-hub ready: http://{host}:{self.config.web.port}", flush=True)  # noqa: T201 - the ready line

    def tell(self, taken: list[Taken]) -> None:
        """What the desk committed: to the screens, and down to the nodes."""
        self.live.take(taken)
        for site in {one.site for one in taken if isinstance(one, EventTaken)}:
            self.ingest.downlink.events_changed(site)

    def _parts(self) -> Parts:
        care, region = self.stores.care, self.config.region
        return Parts(
            config=self.config,
            stores=self.stores,
            live=self.live,
            alarms=Alarms(care, region, self.tell, time.time_ns),
            referrals=Referrals(care, region, self.tell, time.time_ns),
            consents=Consents(Around(care, region, self.tell, time.time_ns)),
            calls=self.consults,
            signals=self.consults,
            is_ready=self.ingest.not_ready,
            nodes=self._node_desk(),
        )

    def _page_certificate(self) -> PageCertificate | None:
        try:
            return self._open_page_certificate()
        except CertificateUnusable as refused:
            raise ConfigRefused(f"web.https: {refused}") from refused

    def _open_page_certificate(self) -> PageCertificate | None:
        https, pki, nodes = self.config.web.https, self.config.pki, self.nodes
        if https is None:
            return None
        if https.certificate_file is not None and https.key_file is not None:
            return PageCertificate(https.certificate_file, https.key_file)
        if pki is None or not isinstance(nodes, node_access.ByCertificates):
            return None
        folder = nodes.folder
        return PageCertificate(
            folder.path(PAGES), folder.path(PAGES_KEY), lambda: folder.keep_pages(pki.names, datetime.now(UTC))
        )

    def _node_desk(self) -> NodeDesk | None:
        nodes, pki = self.nodes, self.config.pki
        if pki is None or not isinstance(nodes, node_access.ByCertificates):
            return None
        pinned, days = nodes.folder.pinned, nodes.authority_days
        return NodeDesk(nodes.enrolment, pki.names[0], pki.door_port, pinned, nodes.look, time.time_ns, days)

    async def _access(self) -> Access:
        web = self.config.web
        lifetimes = Lifetimes(web.session_idle_minutes * 60, web.session_hours * 3600)
        roles = web.second_factor_roles if web.totp_required else frozenset()
        sealed = await self.stores.care.read(factors.count)
        second = SecondFactor(roles, await asyncio.to_thread(load_or_make, self.config.accounts.key_file, sealed))
        access = Access(self.stores.care, self.config.region, lifetimes, second=second)
        access.site_changed = self.ingest.downlink.events_changed
        return access

    def _make_broker(self) -> EmbeddedBroker:
        judged = BrokerNotices(self.nodes.users, self.notices.note)
        pki = self.config.pki
        certified = Certified(pki.folder, self.config.region) if pki else None
        return EmbeddedBroker(self.config.broker, self._note_broker, judged.take, certified)

    def _make_mosquitto(self) -> ExternalBroker | None:
        broker, nodes = self.config.broker, self.nodes
        if broker.settings_folder is None or not isinstance(nodes, node_access.ByCertificates):
            return None
        external = ExternalBroker(broker, broker.settings_folder, nodes.folder, nodes.users)
        nodes.on_nodes = external.changed
        return external

    def _cut_the_denied(self) -> None:
        """Have every listener end what a node has open, as soon as a certificate of it is revoked."""
        deny, broker = self.nodes.deny, self.broker
        if broker is not None:
            deny.on_denied.append(lambda _node: broker.denied())
        if self._mosquitto is not None:
            deny.on_denied.append(self._mosquitto.denied)
        if self._files is not None:
            deny.on_denied.append(self._files.cut)
        if self._datagrams is not None:
            deny.on_denied.append(self._datagrams.cut)

    def _images(self) -> Images | None:
        rpc = self.config.rpc
        if self._blobs is None or self._verifying is None:
            return None
        largest_bytes, told = rpc.largest_file_mib << 20, self._verifying.wake
        return Images(self._blobs, self._readers, rpc.disk_limit_pct, largest_bytes, told)

    def _file_whole(self, row: Transfer) -> None:
        if self._indexer is not None:
            self._indexer.took(row)

    def _open_blobs(self) -> Blobs:
        try:
            return Blobs(self.config.rpc.folder)
        except OSError as error:
            raise ConfigRefused(f"rpc.folder: {self.config.rpc.folder} cannot be used: {error.strerror}") from error

    def _make_indexer(self) -> Indexer | None:
        if self._blobs is None:
            return None
        region, care = self.config.region, self.stores.care
        return Indexer(care, region, self._blobs, self._readers, self.registry, time.time_ns)

    def _make_verifying(self) -> Verifying | None:
        if self._blobs is None:
            return None
        return Verifying(self.stores.care, self.config.region, Images(self._blobs, self._readers), time.time_ns)

    def _make_fetching(self) -> Fetching | None:
        archive, files = self.config.imaging.archive, self._images()
        if archive is None or files is None:
            return None
        return Fetching(self.stores.care, files, Archive(archive, files.largest_file_bytes), time.time_ns)

    def _make_files(self) -> RpcServer:
        identity = self.nodes.identity()
        config, care = self.config, self.stores.care
        served = RpcServer(config.rpc, config.region, care, identity, self.registry, self._file_whole)
        served.credentials = self.nodes.credentials
        served.talks.take = self.ingest.take
        self.ingest.downlink.outlets.append(served.talks.publish)
        return served

    def _make_reconciling(self) -> Reconciling:
        return Reconciling(
            care=self.stores.care,
            samples=self.stores.samples,
            reopen=self.ingest.reopen,
            note=self.notices.note,
            told=self.live.reconciled,
            metrics=ReconcileMetrics(self.registry),
            clock=time.time_ns,
        )

    def _make_datagrams(self) -> datagram.DatagramServer:
        ingest = self.ingest
        server = datagram.DatagramServer(
            self.nodes.prover(),
            lambda address, up, container: ingest.take(address.up(up), container),
            registry=self.registry,
            note=self.notices.note,
        )
        ingest.downlink.on_receipts = server.publish
        return server

    def _make_consults(self) -> Consults:
        return Consults(
            Outlets(
                to_edge=self.ingest.downlink.signal,
                to_page=self.live.to_page,
                changed=self.live.consult_changed,
                locate=self.live.picture.node_at,
                log=self._log_consult,
                new_id=uuid7,
            )
        )

    async def _log_consult(self, address: NodeAddress, event: event_pb2.Event) -> None:
        ordered = await self.stores.care.write(lambda c: events.append_hub_event(c, address, event, time.time_ns()))
        self.tell([EventTaken(address.region, address.site, ordered)])

    def _note_broker(self, _pid: int) -> None:
        self._write_pids()

    def _write_pids(self) -> None:
        if self._pids is None:
            return
        known = {"hub": os.getpid()} | ({"broker": self.broker.pid} if self.broker and self.broker.pid else {})
        fresh = self._pids.with_suffix(".new")
        fresh.write_text(json.dumps(known) + "\n", encoding="utf-8")
        fresh.replace(self._pids)


def _seal(folder: Path) -> Seal:
    try:
        return open_seal(folder)
    except SealUnusable as error:
        raise ConfigRefused(f"audit.folder: {error}") from error


async def serve(config: HubConfig, pids: Path | None, reread: Callable[[], HubConfig]) -> None:
    """Run a hub until SIGINT or SIGTERM; SIGHUP begins anew with what `reread` returns, if that can be used.

    Raises:
        ConfigRefused: something in the configuration cannot be used.
        StoreFailure: a database cannot be opened.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    reload = Reload(config, reread, stop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.asked)
    runs = True
    while runs:
        try:
            await Hub(reload.config, pids, reload.began).run(stop)
            runs = reload.goes_on()
        except* HubError as failed:
            if not reload.falls_back(failed):
                raise
