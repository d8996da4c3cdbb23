"""Joins queue, spool and the two directions to the one transfer client of a node."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import CollectorRegistry
from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.transfer import FileKind
from telemed.v1 import transfer_pb2

from edge_node.config import EdgeConfig, TransferConfig
from edge_node.errors import BufferFailure, ConfigRefused, HubRefuses, UplinkError
from edge_node.uplink import backoff
from edge_node.uplink.certificates import CertificateFolder
from edge_node.uplink.transfer import downward, intake, ledger, releases, rows, session
from edge_node.uplink.transfer.agenda import Agenda
from edge_node.uplink.transfer.budget import Rule, Window
from edge_node.uplink.transfer.channel import DSCP_BUNDLES, DSCP_FILES, HEARD_LIMIT_S, Hub, Line, Login, translated
from edge_node.uplink.transfer.downward import Downward
from edge_node.uplink.transfer.flow import Flow
from edge_node.uplink.transfer.metrics import TransferMetrics
from edge_node.uplink.transfer.pace import Pace
from edge_node.uplink.transfer.parcel import Labels, Parcel
from edge_node.uplink.transfer.releases import Fetched, Release
from edge_node.uplink.transfer.session import Session
from edge_node.uplink.transfer.states import Step

WATCH_EVERY_S = 1.0
"""How soon is noticed what a command line put into the queue."""
SWEEP_EVERY_S = 300.0
CONFIRM_EVERY_S = 3600.0
"""How often the hub is asked, without any outage, whether it still has what was sent."""
HOUR_NS = 3600 * 10**9
LEAST_REST_S = 0.05
MIB = 1024 * 1024

log = structlog.get_logger(__name__)


def _nothing(_: Release) -> None:
    """Take no notice."""


@dataclass(frozen=True, slots=True)
class Paces:
    """The scheduler's ports: files up, bundles down."""

    up: Pace
    down: Pace


class TransferClient:
    """The node's transfer of files; `run` is called once, `close` at the end."""

    def __init__(
        self,
        config: EdgeConfig,
        paces: Paces,
        registry: CollectorRegistry,
        on_fetched: Callable[[Release], None] = _nothing,
    ) -> None:
        """Open queue and spool in the buffer's folder, but no connection; blocking.

        Args:
            config: of the node.
            paces: ports of the node's scheduler.
            registry: gets the counters.
            on_fetched: called on the event loop once a released file is here whole, verified and synced; must not
                block.  After a restart ask `fetched` instead.

        Raises:
            BufferFailure: queue or spool cannot be opened.
            ConfigRefused: the file with the node's secret cannot be read.
        """
        self._config = config
        self._on_fetched = on_fetched
        self._login = login(config)
        self._ledger, self._is_recovered = ledger.open_or_set_aside(config.buffer.folder)
        self._spool = intake.open_spool(config.buffer.folder)
        zone = ZoneInfo(config.node.timezone)
        self._agenda = Agenda(self._ledger, rules(config.transfer), zone, time.time_ns)
        self._metrics = TransferMetrics(registry)
        for kind in FileKind:
            self._metrics.waiting.labels(kind).set_function(lambda kind=kind: self._agenda.waiting_bytes[kind])  # type: ignore[misc]
        self._flow, self._down_pace = Flow(paces.up), paces.down
        self._poked, self._looked_for = asyncio.Event(), asyncio.Event()
        self._confirm_at_s = 0.0

    async def offer(self, path: Path, labels: Labels) -> str:
        """Queue a file and return its id, after the synced commit; the caller may then delete its own.

        The file is linked into the spool where the disk allows, so nobody may write to it any more.  The same file
        in the same group is queued once.

        Raises:
            FileUnusable: it cannot be sent.
            BufferFull: there is no room for it.
            BufferFailure: it is not queued.
        """
        parcel_id = await asyncio.to_thread(
            intake.queue_file, self._spool, self._ledger, path, labels, self._spool.take_link
        )
        self._poked.set()
        return parcel_id

    async def has_sent(self, group: str, hashes: Sequence[str]) -> bool:
        """Return whether the hub has these files of a group, whole and committed.

        Raises:
            BufferFailure: the queue cannot be read.
        """
        return await self._ledger.read(lambda c: rows.has_sent(c, group, hashes))

    async def transfers(self) -> list[Parcel]:
        """Return the files of the queue, the newest first, with state, reason and progress."""
        return await self._ledger.read(rows.parcels)

    async def cancel(self, parcel_id: str) -> bool:
        """Cancel a file for a person; return False where it is done or unknown."""
        return await self._step(parcel_id, Step.CANCEL)

    async def again(self, parcel_id: str) -> bool:
        """Try a refused file once more for a person; return False where it is not refused."""
        return await self._step(parcel_id, Step.AGAIN)

    async def fetched(self) -> list[Release]:
        """Return what the hub has for this node, with state and progress; `path_of` says where it lies once here."""
        return await self._ledger.read(releases.releases)

    def path_of(self, release: Release) -> Path:
        """Return where a fetched file lies; read-only for the node."""
        return self._spool.fetched(release.sha256)

    async def discard(self, sha256: str) -> None:
        """Give a fetched file up; its place on the disk is freed within minutes, and it is not fetched again."""
        await self._ledger.write(lambda c: releases.note(c, sha256, {"state": Fetched.DISCARDED, "have": b""}))

    def look(self) -> None:
        """Ask the hub at once what it has for this node."""
        self._looked_for.set()

    async def run(self) -> None:
        """Carry files both ways until cancelled."""
        await self._ledger.write(rows.after_restart)
        if self._is_recovered:
            await asyncio.to_thread(intake.requeue, self._spool, self._ledger)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="transfer-watch")
            group.create_task(self._sweep(), name="transfer-sweep")
            group.create_task(self._send_all(Line(self._login, DSCP_FILES)), name="transfer-send")
            group.create_task(self._fetch_all(Line(self._login, DSCP_BUNDLES)), name="transfer-fetch")

    def close(self) -> None:
        """Close the queue; idempotent, blocking."""
        self._ledger.close()

    async def _step(self, parcel_id: str, what: Step) -> bool:
        is_done = await self._ledger.write(lambda c: rows.step(c, parcel_id, what))
        self._poked.set()
        return is_done

    async def _watch(self) -> None:
        """Look at the queue again when it was changed, by whomever, or when something held may go."""
        seen = -1
        while True:
            version = await self._ledger.read(rows.data_version)
            is_due = 0 < self._agenda.wake_ns <= time.time_ns()
            if version != seen or is_due or self._poked.is_set():
                self._poked.clear()
                seen = version
                await self._attempt(self._agenda.refresh)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_EVERY_S):
                    await self._poked.wait()

    async def _send_all(self, line: Line) -> None:
        changed = asyncio.Event()
        self._agenda.listeners.append(changed)
        try:
            await self._send_until_cancelled(line, changed)
        finally:
            self._agenda.listeners.remove(changed)
            await line.close()

    async def _send_until_cancelled(self, line: Line, changed: asyncio.Event) -> None:
        means = session.Means(self._agenda, self._spool, self._flow, self._metrics)
        failures = 0

        async def go() -> None:
            hub = await line.hub()
            await self._withdraw(hub)
            await Session(hub, means).run()

        async def ask_why() -> None:
            await self._withdraw_one(await line.hub(), "")

        while True:
            changed.clear()
            if not self._agenda.ready and not await self._ledger.read(rows.to_withdraw):
                await changed.wait()
                continue
            code = await self._attempt(go)
            if code == Code.LINK_DOWN:
                code = await self._attempt(ask_why) or code
            failures = failures + 1 if code else 0
            await self._note_outage(code)
            await self._rest(failures)

    async def _note_outage(self, code: str) -> None:
        if code != self._agenda.outage:
            self._agenda.outage = code
            if code:
                log.warning("transfer.outage", code=code)
            else:
                log.info("transfer.goes-on")
        # Also where nothing changed: a session ends when a budget is used up too.
        await self._attempt(self._agenda.refresh)

    async def _withdraw(self, hub: Hub) -> None:
        """Tell the hub what people cancelled."""
        for parcel_id, hub_id in await self._ledger.read(rows.to_withdraw):
            await self._withdraw_one(hub, hub_id)
            await self._ledger.write(lambda c, one=parcel_id: rows.note_withdrawn(c, one))  # type: ignore[misc]

    async def _withdraw_one(self, hub: Hub, hub_id: str) -> None:
        """Tell the hub that a file is given up; of no file ("") it is the shortest question that tells why it refuses.

        A call that is ended while it is written to does not always say why; one without a stream does.
        """
        asked = transfer_pb2.WithdrawRequest(transfer_id=hub_id)
        with translated():
            await hub.stub.Withdraw(asked, metadata=hub.login.metadata, timeout=HEARD_LIMIT_S)

    async def _fetch_all(self, line: Line) -> None:
        try:
            await self._fetch_until_cancelled(line)
        finally:
            await line.close()

    async def _fetch_until_cancelled(self, line: Line) -> None:
        means = downward.Means(self._agenda, self._spool, self._down_pace, self._metrics, self._on_fetched)
        way_down, failures = Downward(line, means), 0

        async def go() -> None:
            await self._look(way_down)
            await way_down.fetch_all()

        while True:
            self._looked_for.clear()
            failures = failures + 1 if await self._attempt(go) else 0
            if failures:
                # Whoever comes back may be a hub that was put back to a backup.
                self._confirm_at_s = 0.0
                await self._rest(failures)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.transfer.look_every_s):
                    await self._looked_for.wait()

    async def _look(self, way_down: Downward) -> None:
        """Ask the hub what it has for this node, and now and then whether it still has what was sent."""
        sent = await self._to_confirm()
        lost = set(await way_down.look([sha256 for _, sha256 in sent]))
        if sent:
            self._confirm_at_s = time.monotonic() + CONFIRM_EVERY_S
        again = [parcel_id for parcel_id, sha256 in sent if sha256 in lost]
        if again:
            log.warning("transfer.hub-lost-files", files=len(again))
            await self._ledger.write(lambda c: [rows.step(c, each, Step.LOST) for each in again])
            self._poked.set()

    async def _to_confirm(self) -> list[tuple[str, str]]:
        """Return id and hash of files to ask the hub about: kilobytes that are not asked every minute."""
        if time.monotonic() < self._confirm_at_s:
            return []
        since_ns = self._copies_since_ns()
        sent = await self._ledger.read(lambda c: rows.sent_since(c, since_ns))
        kept = set(await asyncio.to_thread(self._spool.waiting))
        return [(parcel_id, sha256) for parcel_id, sha256 in sent if sha256 in kept]

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> str:
        """Do something that may fail; return the code of its failure, empty where it did not."""
        failure: BaseException | None = None
        try:
            await work()
        except* (UplinkError, BufferFailure, OSError) as failed:
            failure = _first(failed)
        _pass_on_cancellation()
        if failure is None:
            return ""
        if isinstance(failure, HubRefuses):
            return failure.reason_code
        return Code.STORE_FULL if isinstance(failure, OSError | BufferFailure) else Code.LINK_DOWN

    async def _rest(self, failures: int) -> None:
        uplink = self._config.uplink
        wait_s = backoff.wait_s(failures, uplink.first_retry_s, uplink.longest_retry_s, random.random)
        # Never without any pause: a fault of ours must not keep a core busy.
        await asyncio.sleep(max(LEAST_REST_S, wait_s if failures else 0))

    async def _sweep(self) -> None:
        while True:
            await self._attempt(self._delete_unneeded)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _delete_unneeded(self) -> None:
        since_ns = self._copies_since_ns()
        await asyncio.to_thread(intake.sweep, self._spool, self._ledger, since_ns)

    def _copies_since_ns(self) -> int:
        return time.time_ns() - round(self._config.transfer.keep_sent_hours * HOUR_NS)


def login(config: EdgeConfig) -> Login:
    """Return where the hub is and who this node is there.

    Raises:
        ConfigRefused: the file with the secret cannot be read.
    """
    address = NodeAddress(config.node.region, config.node.site, config.node.node)
    host, port = config.transfer.hub_host, config.transfer.hub_port
    if config.uplink.certificates is not None:
        return Login(host, port, address, "", CertificateFolder(config.uplink.certificates))
    try:
        secret = config.uplink.secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRefused(f"uplink.secret_file {config.uplink.secret_file}: {error}") from error
    return Login(host, port, address, secret)


def rules(config: TransferConfig) -> dict[FileKind, Rule]:
    """Return the budgets of a configuration."""
    found = {
        FileKind.STUDY: config.study,
        FileKind.EXAM: config.exam,
        FileKind.BUNDLE: config.bundle,
        FileKind.OTHER: config.other,
    }
    return {
        kind: Rule(
            None if each.mib_per_day is None else each.mib_per_day * MIB,
            tuple(Window.parse(text) for text in each.hours),
        )
        for kind, each in found.items()
    }


def _pass_on_cancellation() -> None:
    """Raise the cancellation that a group of tasks has dropped because one of them failed while it was cancelled."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    failure = group.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
