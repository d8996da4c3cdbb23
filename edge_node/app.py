"""Joins the parts of an edge node: devices -> buffer -> ward -> pages, and the way to the hub."""

import asyncio
import contextlib
import dataclasses
import math
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from telemed.errors import Code
from telemed.measures import MEASURES
from telemed.page_certificate import PageCertificate
from telemed.screen import Consult, SignalView
from telemed.topics import NodeAddress, Up
from telemed.v1 import event_pb2, uplink_pb2

from edge_node import arrangement, page_server, placement, stuck, supervise
from edge_node.alarms import ruleset
from edge_node.alarms.sounder import Sounder
from edge_node.alarms.ward import ALARM_HISTORY_S, Ward
from edge_node.alarms.wire import who_of
from edge_node.audittrail import AuditTrail, seal_in
from edge_node.bedside import application
from edge_node.bedside.ports import Surroundings
from edge_node.bedside.station import Station
from edge_node.buffer.clock import boottime_ns
from edge_node.buffer.store import Buffer
from edge_node.config import EdgeConfig
from edge_node.consult.host import ConsultHost
from edge_node.consult.pipe import Step
from edge_node.consult.router import ConsultRouter, Outlets
from edge_node.devices.hl7_monitor.driver import Hl7Monitor, Site
from edge_node.devices.hl7_monitor.identity import Occupant
from edge_node.devices.recorded.driver import Recorded
from edge_node.errors import BufferFailure, CareError, EdgeError
from edge_node.folder_lock import only_one
from edge_node.health import routes as health_routes
from edge_node.health.state import Health, LoopLag, PathFigures
from edge_node.reload import Reload
from edge_node.samples.alarm import Ask
from edge_node.samples.measurement import Intake, Stored
from edge_node.sitelog import SiteLog
from edge_node.studies import Beside, Stage, Studies
from edge_node.uplink.certificates import CertificateFolder
from edge_node.uplink.enrolment.renewal import Renewer
from edge_node.uplink.file_paces import FilesDown, FilesUp
from edge_node.uplink.presence import LinkView, held_up
from edge_node.uplink.radios import Radios
from edge_node.uplink.reconcile.nightly import Reconciler
from edge_node.uplink.schedule import Traffic
from edge_node.uplink.transfer.client import Paces, TransferClient
from edge_node.uplink.transfer.releases import Release
from edge_node.uplink.uplink import Callbacks, Uplink

NS = 1_000_000_000
PULSE_S = 1.0
BUFFER_FIGURES_EVERY_S = 10
STARTED_LIMIT_S = 20.0
UNSTORED_LIMIT = 4096
"""Keys of intakes remembered that were judged and not stored."""
CLOCK_SET_TOLD_S = 600.0
"""How long people are told that somebody set the machine's clock."""

log = structlog.get_logger(__name__)


class Node:
    """One edge node with all its parts; made in `open`, run once."""

    def __init__(self, config: EdgeConfig, buffer: Buffer, refused: Callable[[], str] = lambda: "") -> None:
        """Start nothing yet.

        Args:
            config: the whole configuration.
            buffer: the open store.
            refused: says why a changed configuration is not in force, empty where there is none.
        """
        self.config = config
        self._refused = refused
        self.buffer = buffer
        self.log = SiteLog(buffer)
        clock_ns = buffer.clock.now_ns
        self.ward = Ward(arrangement.layout(config), ruleset.load(config.alarms.ruleset), buffer, clock_ns, boottime_ns)
        address = NodeAddress(config.node.region, config.node.site, config.node.node)
        buffer.goes_at_once = self.ward.goes_at_once
        self.audit = AuditTrail(buffer, address, seal_in(config.buffer.folder), clock_ns)
        self._figures = CollectorRegistry()
        self.radios = Radios(config.modems, lambda: self.uplink.hub_silent_s)
        self.uplink = self._way_to_hub(address)
        self.radios.on_new_way(self.uplink.gate.restart)
        occupied = Site(occupant=self._occupant, timezone=config.node.timezone)
        self.monitor = Hl7Monitor(config.hl7, config.devices, occupied, clock_ns=clock_ns, steady_ns=boottime_ns)
        self.host = ConsultHost(arrangement.cameras(config), self._from_camera)
        self.router = ConsultRouter(
            config.node.site,
            config.consult.auto_answer,
            self.host,
            Outlets(to_hub=self._to_hub, to_page=self._to_page, changed=self._consult_changed),
        )
        self.sounder = Sounder(config.alarms.sound_command, self.ward.alarms)
        self.lag = LoopLag()
        paces = Paces(FilesUp(self.uplink.gate), FilesDown(self.uplink.gate, buffer.room.holds_downloads))
        certificates = config.uplink.certificates
        self.renewer = Renewer(CertificateFolder(certificates), buffer.clock) if certificates else None
        self.files = TransferClient(config, paces, self._figures, self._fetched) if config.transfer.enabled else None
        self.studies = Studies(Beside(config, self.log, self.audit, buffer.clock, self.files, self._figures))
        self.station = Station(self._surroundings(), self._follow)
        # Not bulk, which stands still below 1 Mbit/s: a site on a thin link would never be compared.
        behind = FilesUp(self.uplink.gate, Traffic.BACKLOG)
        self.reconciler = Reconciler(config, buffer, behind) if config.transfer.enabled else None
        self._hours_left: float | None = None
        self._clock_moved_ns = 0
        self._clock_set_s = -math.inf
        """When the machine's clock was last seen to be set, monotonic seconds."""
        self._actions: asyncio.Queue[event_pb2.OrderedEvent] = asyncio.Queue()
        self._is_serving = False
        self._told_trail: tuple[bool, str] = (False, "")
        """What the audit trail was told of: a second machine, and why a configuration is refused."""
        self._unjudged: set[str] = set()
        """Keys of intakes that were stored and whose judging failed."""
        self._unstored: dict[str, None] = {}
        """Keys of the newest intakes that were judged although there was no room to store them."""

    def _way_to_hub(self, address: NodeAddress) -> Uplink:
        config = self.config
        second_way = arrangement.second_way(config, self._figures) if config.uplink.second_way_enabled else None
        heard = Callbacks(
            on_events=self._events,
            on_signal=self._signal,
            devices=self._device_states,
            radios=self.radios.messages,
            stuck=self._stuck,
        )
        return Uplink(config.uplink, self.buffer, address, heard, second_way=second_way)

    def _fetched(self, release: Release) -> None:
        self.studies.fetched(release)

    async def restore(self) -> None:
        """Bring back what was known before the start, and tell the hub what changed in the set-up."""
        await self.log.load()
        await self.ward.restore(self.log.roster)
        self.log.on_change.append(self._log_changed)
        self.ward.on_alarm += [self.station.alarm_moved, self.sounder.alarm_moved]
        self.ward.on_readings.append(self.station.readings_changed)
        self.ward.on_waves.append(self.station.waves_arrived)
        for event in list(placement.changes(self.config, self.log.roster, self._now_ns(), self._limits())):
            await self.log.propose(event)
        for row in self.log.ordered("alarm"):
            if self._now_ns() - row.event.at_unix_ns < ALARM_HISTORY_S * NS:
                self._actions.put_nowait(row)

    def _limits(self) -> list[event_pb2.MeasureLimit]:
        """Alarm limits of this node's ruleset, by measure; text is empty where there is none on that side."""
        found = ((measure, *self.ward.limits_of(measure)) for measure in MEASURES)
        return [
            event_pb2.MeasureLimit(measure=measure, low=low or "", high=high or "")
            for measure, low, high in found
            if low or high
        ]

    async def take(self, intake: Intake) -> Stored:
        """Store what a device brought and judge it; returns after the synced commit.

        A set that was stored and could not be judged is judged when its device, left without an answer, sends it
        again; once, because a message that always fails must not hold up what its device has to say after it.

        Raises:
            BufferFailure: not stored, and judged all the same: a full or failing disk must not silence the alarms.
        """
        try:
            stored = await self.buffer.store_intake(intake)
        except BufferFailure:
            await self._judge_unstored(intake)
            raise
        is_first = stored is Stored.NEW
        if is_first and intake.dedup_key in self._unstored:
            del self._unstored[intake.dedup_key]
            return stored
        if not is_first and intake.dedup_key not in self._unjudged:
            return stored
        self._unjudged.discard(intake.dedup_key)
        is_judged = False
        try:
            await self.ward.take(intake)
            is_judged = True
        finally:
            if is_first and not is_judged and intake.dedup_key:
                self._unjudged.add(intake.dedup_key)
        return stored

    async def _judge_unstored(self, intake: Intake) -> None:
        """Judge a set that could not be stored, once however often its device sends it again."""
        key = intake.dedup_key
        if key and key in self._unstored:
            return
        if key:
            self._unstored[key] = None
        if len(self._unstored) > UNSTORED_LIMIT:
            del self._unstored[next(iter(self._unstored))]
        await self.ward.take(intake)

    def close(self) -> None:
        """Close what was opened beside the buffer; idempotent, blocking."""
        for opened in (self.files, self.studies):
            if opened is not None:
                opened.close()

    def page(self) -> FastAPI:
        """Return the bedside page's application."""
        health = Health(
            not_ready=self.not_ready,
            waiting=lambda: {str(up): count for up, count in self._waiting().items()},
            hours_left=lambda: self._hours_left,
            alarms=lambda: Counter(row.finding.priority.name.lower() for row in self.ward.alarms() if row.stands),
            link=lambda: self.uplink.link.state,
            hl7=self._hl7_figures,
            alarm_paths=self._path_figures,
            radios=lambda: [(radio.message(), radio.changed) for radio in self.radios.each],
            lag=self.lag,
            pages=lambda: len(self.station.live.pages),
        )
        return application.build(
            self.station, [health_routes.router(health, self._figures, arrangement.metrics_token(self.config))]
        )

    def _path_figures(self) -> list[PathFigures]:
        return [
            PathFigures(path.way, path.is_up, path.round_trip_s, path.repeats.waiting, path.counts)
            for path in self.uplink.alarm_paths.paths
        ]

    def not_ready(self) -> list[str]:
        """Return the parts that cannot serve yet."""
        missing = [] if self._is_serving else ["page"]
        if self.config.hl7.enabled and not self.monitor.listening.is_set():
            missing.append("hl7")
        imaging = self.studies.imaging
        if imaging is not None and imaging.is_awaited:
            missing.append("imaging")
        return missing

    async def run(self, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
        """Serve until `stop` is set; `ready` is told once everything can be used.

        Raises:
            ConfigRefused: a port cannot be opened.
        """
        hl7 = self.config.hl7
        if hl7.enabled:
            page_server.open_port(hl7.host, hl7.port, "hl7.port").close()
        if self.studies.imaging is not None:
            await self.studies.imaging.open()
        certificate = arrangement.page_certificate(self.config)
        pages = self._open_pages(certificate)
        server = pages[0][0]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(supervise.keep(name, run, budget), name=name) for name, run, budget in self._stages()
            ]
            if certificate is not None:
                tasks.append(group.create_task(certificate.run(), name="page-certificate"))
            serving = [group.create_task(each.serve(sockets=[at]), name="page") for each, at in pages]
            group.create_task(self._announce(server, ready), name="announce")
            await stop.wait()
            for each, _ in pages:
                each.should_exit = True
            await asyncio.wait(serving, timeout=page_server.STOP_LIMIT_S * 2)
            for task in (*tasks, *serving):
                task.cancel()

    def _open_pages(self, certificate: PageCertificate | None) -> list[tuple[page_server.PageServer, socket.socket]]:
        """Return the servers of the page with their open ports, the plain one first; none is left open on failure."""
        bedside, built = self.config.bedside, self.page()
        with contextlib.ExitStack() as opened:
            plain = opened.enter_context(page_server.open_port(bedside.host, bedside.port, "bedside.port"))
            pages = [(page_server.server(built), plain)]
            if bedside.https is not None and certificate is not None:
                https = bedside.https
                at = opened.enter_context(page_server.open_port(https.host, https.port, "bedside.https.port"))
                pages.append((page_server.server(built, certificate.context), at))
            opened.pop_all()
        return pages

    def _stages(self) -> list[Stage]:
        stages: list[Stage] = [
            ("ward", self.ward.run, None),
            ("uplink", self.uplink.run, None),
            ("buffer", self.buffer.run, None),
            ("pages", self.station.live.run, None),
            ("actions", self._act, None),
            ("pulse", self._pulse, None),
            ("lag", self.lag.run, None),
            ("consult", self.host.run, None),
            ("audit", self.audit.run, None),
        ]
        if self.files is not None:
            stages.append(("files", self.files.run, None))
        stages += self.studies.stages()
        if self.renewer is not None:
            stages.append(("certificate", self.renewer.run, None))
        if self.reconciler is not None:
            stages.append(("reconcile", self.reconciler.run, None))
        stages += [(f"radio-{radio.path}", radio.run, supervise.Budget()) for radio in self.radios.each]
        if self.config.alarms.sound_command:
            stages.append(("sounder", self.sounder.run, None))
        if self.config.hl7.enabled:
            stages.append(("hl7", lambda: self.monitor.run(self.take), supervise.Budget()))
        for device in self.config.devices:
            if device.family == "recorded":
                player = Recorded(device)
                stages.append((device.device, lambda player=player: player.run(self.take), supervise.Budget()))  # type: ignore[misc]
        return stages

    async def _announce(self, server: page_server.PageServer, ready: Callable[[str], None]) -> None:
        await server.is_up.wait()
        self._is_serving = True
        if self.config.hl7.enabled:
            await self.monitor.listening.wait()
        if self.studies.imaging is not None:
            await self.studies.imaging.settled()
        ready(f"http://{self.config.bedside.host}:{self.config.bedside.port}")

    async def _pulse(self) -> None:
        beats = 0
        while True:
            for moved_ns in self.buffer.clock.take_moves():
                log.warning("clock.moved", by_ms=moved_ns // 1_000_000)
                self._clock_moved_ns, self._clock_set_s = moved_ns, time.monotonic()
            self.ward.hub_heard(self.uplink.link.last_hub_ns)
            self.router.expire(time.monotonic())
            self.host.press(self.uplink.gate.scheduler.is_pressed)
            self._tell_trail()
            if beats % BUFFER_FIGURES_EVERY_S == 0:
                self._hours_left = self.buffer.hours_left()
            beats += 1
            await asyncio.sleep(PULSE_S)

    def _tell_trail(self) -> None:
        """Have the audit trail tell of a second machine, and of a configuration that is refused."""
        before, self._told_trail = self._told_trail, (self.uplink.is_second, self._refused())
        node = f"node/{self.config.node.site}/{self.config.node.node}"
        if self._told_trail[0] and not before[0]:
            self.audit.note_soon(None, "second-machine", node, Code.NODE_SECOND)
        if self._told_trail[1] not in ("", before[1]):
            self.audit.note_soon(None, "config-reload", node, Code.CONFIG_REFUSED)

    async def _act(self) -> None:
        """Do what people at the hub asked of alarms, in the order of the site's log."""
        while True:
            row = await self._actions.get()
            event = row.event
            if row.refused or event.WhichOneof("body") != "alarm_action" or self.ward.has_done(event.event_id):
                continue
            asked = event.alarm_action
            ask = Ask(asked.action, asked.text, asked.useful, asked.pause_s or 120, asked.alarm_seq)
            result, who = "ok", who_of(event.actor)
            try:
                await self.ward.act(event.aggregate_id, ask, who, event.event_id)
            except CareError as refusal:
                log.info("alarm action not done", action=asked.action, code=refusal.code)
                result = refusal.code
            await self.audit.note(who, f"alarm-{asked.action}", f"alarm/{event.aggregate_id}", result)

    def _events(self, events: list[event_pb2.OrderedEvent]) -> None:
        self.log.take_ordered(events)
        for row in events:
            if row.event.aggregate_type == "alarm":
                self._actions.put_nowait(row)

    def _log_changed(self, events: list[event_pb2.Event]) -> None:
        if {event.aggregate_type for event in events} & {"person", "bed"}:
            self.ward.people(self.log.roster)
        self.station.events_changed(events)

    def _signal(self, signal: uplink_pb2.Signal) -> None:
        self.router.from_hub(signal)

    def _to_hub(self, signal: uplink_pb2.Signal) -> None:
        self.uplink.send_signal(signal)

    def _from_camera(self, step: Step) -> None:
        self.router.from_camera(step)

    def _to_page(self, page: str | None, view: SignalView) -> None:
        self.station.live.to_page(page, view)

    def _consult_changed(self, consult: Consult) -> None:
        self.station.consult_changed(consult)
        self.audit.note_soon(None, f"consult-{consult.state}", f"consult/{consult.consult_id}")
        self.uplink.gate.scheduler.is_call = any(one.state == "active" for one in self.router.consults())

    def _follow(self, bed: str, message: Callable[[], str]) -> None:
        if self.host.wants_vitals(bed):
            self.host.vitals(bed, message())

    def _occupant(self, bed: str) -> Occupant | None:
        person = self.log.roster.occupant(bed)
        if person is None:
            return None
        facts = person.facts
        return Occupant(frozenset(person.identifiers), facts.family_name, facts.birth_date, facts.gender)

    def _device_states(self) -> list[uplink_pb2.DeviceState]:
        found, clocks = [], self.monitor.clocks()
        for device, place in self.ward.layout.devices.items():
            if not place.is_watched:
                continue
            heard_ns = self.ward.last_heard_ns(device)
            state = "never" if heard_ns is None else "silent" if self.ward.is_silent(device) else "live"
            row = uplink_pb2.DeviceState(device=device, state=state, last_arrival_unix_ns=heard_ns or 0)
            if device in clocks:
                row.clock_offset_ms, row.clock_known = clocks[device].offset_ms, clocks[device].is_known
            found.append(row)
        return found

    def _stuck(self) -> list[uplink_pb2.Stuck]:
        roster = self.log.roster
        held_back = [
            stuck.HeldBack(bed, self.ward.bed(bed).unassigned, roster.occupant(bed) is not None)
            for bed in self.ward.layout.beds
        ]
        room = self.buffer.room
        is_locked = bool(self.buffer.keys.sealing.reason)
        store = stuck.Store(
            room.held_share(), not room.may_take(), self.buffer.gives_up, self.buffer.damaged, is_locked
        )
        is_recent = time.monotonic() - self._clock_set_s < CLOCK_SET_TOLD_S
        machine = stuck.MachineClock(self.buffer.clock.wrong_by_ns(), self._clock_moved_ns if is_recent else 0)
        trouble = self.renewer.trouble if self.renewer is not None else ""
        told = stuck.found(store, held_back, self.monitor.clocks(), self._refused(), machine)
        return [
            *stuck.of_certificate(trouble),
            *told,
            *self.studies.stuck(),
        ]

    def _now_ns(self) -> int:
        return self.buffer.clock.now_ns()

    def _waiting(self) -> dict[Up, int]:
        """Count the records without a receipt, by class; those on their way too."""
        return {up: waiting.records for up, waiting in self.buffer.waiting().items()}

    def _held_up(self) -> dict[Up, int]:
        told = held_up(self.buffer.waiting(), self._now_ns())
        return {up: waiting.records for up, waiting in told.items()}

    def _hl7_figures(self) -> Mapping[str, int | Mapping[str, int]]:
        counters = self.monitor.counters
        values = {field.name: getattr(counters, field.name) for field in dataclasses.fields(counters)}
        return {name: value for name, value in values.items() if name != "connections_open"}

    def _surroundings(self) -> Surroundings:
        def link() -> LinkView:
            return self.uplink.link

        return Surroundings(
            config=self.config,
            ward=self.ward,
            words=self.ward,
            care=self.log,
            consults=self.router,
            link=link,
            waiting=self._held_up,
            stuck=lambda: [(each.code, each.what) for each in self.uplink.stuck()],
            link_gaps=self.ward.hub_gaps,
            radios=self.radios.messages,
            hours_left=lambda: self._hours_left,
            trends=self.buffer.trends,
            deliver=self.take,
            clock=self._now_ns,
            audit=self.audit,
            studies=self.studies.imaging,
            imports=arrangement.handed_imports(self.config),
            sender_of=arrangement.web_senders(self.config),
        )


async def serve(config: EdgeConfig, ready: Callable[[str], None], reread: Callable[[], EdgeConfig]) -> None:
    """Run a node until SIGTERM or SIGINT; SIGHUP begins anew with what `reread` returns, if that can be used.

    Raises:
        ConfigRefused: the store is in use, or a port or file cannot be opened.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    reload = Reload(config, reread, stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.asked)
    runs, how = True, "start"
    while runs:
        try:
            await _run(reload, stop, ready, how)
            runs, how = reload.goes_on(), "config-reload"
        except* EdgeError as failed:
            if not reload.falls_back(failed):
                raise


async def _run(reload: Reload, stop: asyncio.Event, ready: Callable[[str], None], how: str) -> None:
    config = reload.config

    def began(address: str) -> None:
        reload.began()
        ready(address)

    with (
        only_one(config.buffer.folder),
        contextlib.closing(arrangement.open_buffer(config)) as buffer,
        contextlib.closing(Node(config, buffer, lambda: reload.refused)) as node,
    ):
        await node.audit.began(how, buffer.declared())
        try:
            await node.restore()
            await node.run(stop, began)
        finally:
            await node.audit.ended()
