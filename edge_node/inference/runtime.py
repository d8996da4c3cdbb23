"""The models of a node: takes bundles in as they arrive, puts them on duty, rolls them back, lends them out."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import structlog
from telemed.bundle import MANIFEST, Bundle, BundleRefused, Manifest, Refusal
from telemed.bundle_golden import Array, Arrays

from edge_node.errors import BufferFailure, EngineFailed, ModelAbsent
from edge_node.inference import provenance, rollout, shelf
from edge_node.inference.engine import Offer
from edge_node.inference.installing import Installer, offers_here, told
from edge_node.inference.ports import Arrival, Arrivals, Outlets, Settings
from edge_node.inference.provenance import Provenance, Subject
from edge_node.inference.rollout import ON_DUTY, Event, Row, Rows, Stage
from edge_node.inference.shelf import Shelf
from edge_node.inference.slot import Slot, idle_ones_rest
from edge_node.inference.trust import Trust
from edge_node.inference.worker import Worker

LOOK_EVERY_S = 30.0
TOLD_FOR_NS = 7 * 86400 * 10**9
"""How long people are told of a bundle that was refused, unless another one of its task is taken."""
_TOLD = ON_DUTY | {Stage.REFUSED, Stage.ROLLED_BACK}

log = structlog.get_logger(__name__)


class Model:
    """A bundle on loan: all its runs are of one bundle, whatever is installed meanwhile."""

    def __init__(self, owner: "Inference", slot: Slot, worker: Worker) -> None:
        self._owner, self._slot, self._worker = owner, slot, worker

    @property
    def manifest(self) -> Manifest:
        """What is said of it: thresholds, recipes, limits."""
        return self._slot.bundle.manifest

    @property
    def provenance(self) -> Provenance:
        """What a result of it must say."""
        loaded = (self._worker.loaded.version, self._worker.loaded.device)
        return provenance.of(self._slot.bundle, self._worker.choice, loaded, self._slot.choice)

    async def run(self, graph: str, inputs: Arrays) -> dict[str, Array]:
        """Return the outputs of one run of a graph.

        Raises:
            EngineFailed: it gave nothing that can be used; get the model again, another version may be on duty.
            EngineLate: it did not answer within the graph's deadline.
            Misfit: the inputs are not those that the graph takes.
        """
        began_s = time.monotonic()
        try:
            found = await self._worker.run(graph, inputs)
        except EngineFailed as failed:
            await self._owner.fault(self._slot, self._worker, failed)
            raise
        self._owner.ran(self._slot, time.monotonic() - began_s)
        return found


class Inference:
    """The models of one node; `run` is called once."""

    def __init__(self, settings: Settings, arrivals: Arrivals, outlets: Outlets) -> None:
        """Start nothing yet; blocking.

        Raises:
            OSError: the folder cannot be used.
        """
        self._settings, self._arrivals, self._outlets = settings, arrivals, outlets
        self._shelf = Shelf(settings.folder)
        trust = Trust(settings.folder / shelf.TRUST, settings.root)
        self._installer = Installer(self._shelf, trust, settings.means, settings.slow_factor)
        self._rows: Rows = tuple(row for row in self._shelf.rows() if row.stage is not Stage.TRIAL)
        self._slots: dict[str, Slot] = {}
        self._arrived, self._new_on_duty = asyncio.Event(), asyncio.Event()
        self._changing = asyncio.Lock()
        """Held while it changes who is on duty."""
        self._saving = asyncio.Lock()
        for row in self._rows:
            bundle = self._bundle_of(row) if row.stage in ON_DUTY else None
            if bundle is not None:
                self._put_on_duty(row, bundle)

    def arrived(self) -> None:
        """Look at once whether there is a bundle to be taken in."""
        self._arrived.set()

    def rows(self) -> Rows:
        """Return what is known of each bundle."""
        return self._rows

    def manifest(self, task: str) -> Manifest | None:
        """Return what is said of the bundle on duty for a task, without lending it; None where there is none."""
        slot = self._slots.get(task)
        return slot.bundle.manifest if slot is not None else None

    def check(self, task: str, subject: Subject) -> None:
        """Look whether `model` would be given.

        Raises:
            ModelAbsent: there is none.
            NotForPatients: it must not be run on this one.
        """
        self._on_duty(task, subject)

    def refused(self) -> list[str]:
        """Return what people must be told of: bundles refused or rolled back lately, with nothing taken since."""
        since_ns = self._outlets.clock_ns() - TOLD_FOR_NS
        in_order = sorted(self._rows, key=lambda row: (row.changed_ns, bool(row.reason)))
        newest = {row.task: row for row in in_order if row.stage in _TOLD}
        # What nobody could say the task of is told until anything is taken.
        taken_ns = max((row.changed_ns for row in self._rows if row.stage in ON_DUTY), default=0)
        newest_faults = [row for row in newest.values() if row.reason and row.changed_ns > since_ns]
        faulty = [row for row in newest_faults if row.task or row.changed_ns > taken_ns]
        damaged = [replace(row, reason=Refusal.HASH_WRONG) for row in self._rows_without_slot()]
        return [" ".join(filter(None, (row.task, row.version, row.reason))) for row in (*faulty, *damaged)]

    @asynccontextmanager
    async def model(self, task: str, subject: Subject) -> AsyncIterator[Model]:
        """Give the bundle that is on duty for a task, for the time of one study.

        Raises:
            ModelAbsent: there is none.
            NotForPatients: it must not be run on this one.
            EngineFailed: its worker does not start.
        """
        slot = self._on_duty(task, subject)
        slot.users += 1
        try:
            yield Model(self, slot, await self._awake(slot))
        finally:
            slot.users -= 1
            if slot.is_retired and not slot.users:
                await slot.rest()

    def ran(self, slot: Slot, seconds: float) -> None:
        """Count a run without a fault; called by the model on loan."""
        task = slot.bundle.manifest.task
        self._outlets.metrics.runs.labels(task, "done").inc()
        self._outlets.metrics.seconds.labels(task).observe(seconds)
        slot.runs += 1
        row = self._row_of(slot)
        if row is not None and row.stage is Stage.PROBATION and slot.runs >= self._settings.probation_runs:
            self._move(row.bundle_id, Event.STEADY)
            self._arrived.set()

    async def fault(self, slot: Slot, worker: Worker | None, failed: EngineFailed) -> None:
        """Take note of a run that gave nothing, and by which worker, None where it did not start.

        Where anything but the engine that is everywhere ran it, that is given up first; else a bundle on probation
        gives way to the one before it.
        """
        task = slot.bundle.manifest.task
        self._outlets.metrics.runs.labels(task, failed.reason).inc()
        log.warning("inference-failed", task=task, reason=failed.reason, detail=failed.detail)
        if not slot.may_blame(worker):
            return
        if await slot.gives_engine_up(worker):
            return
        async with self._changing:
            row = self._row_of(slot)
            if row is not None and not slot.is_retired:
                await self._give_up(row, (failed.reason, failed.detail))

    async def run(self) -> None:
        """Take in what arrives, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take_in(), name="inference-arrivals")
                group.create_task(self._rest_when_idle(), name="inference-idle")
                if self._settings.is_accelerated:
                    group.create_task(self._choose_engines(), name="inference-engines")
        finally:
            for slot in list(self._slots.values()):
                await slot.rest()

    async def _take_in(self) -> None:
        told = ""
        while True:
            self._arrived.clear()
            trouble = await self._look()
            if trouble and not told:
                log.warning("bundles-wait", reason=trouble)
            elif told and not trouble:
                log.info("bundles-go-on")
            told = trouble
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._arrived.wait()

    async def _look(self) -> str:
        """Take in what is here; return why something of it has to wait for another look, empty where nothing has to.

        A disk that takes nothing now must not end the models that serve.
        """
        trouble = ""
        try:
            await self._call_formers()
            await self._save()
            for arrival in await self._arrivals.waiting():
                why = await self._install(arrival)
                trouble = trouble or why
                if not why:
                    await self._arrivals.settled(arrival)
        except (OSError, BufferFailure) as error:
            return f"{type(error).__name__}: {error}"
        return trouble

    async def _call_formers(self) -> None:
        """Where the disk has damaged what is on duty, have the one before it serve."""
        for row in self._rows_without_slot():
            async with self._changing:
                await self._give_up(row, (Refusal.HASH_WRONG, MANIFEST))

    async def _choose_engines(self) -> None:
        """Find out by what each bundle runs best; a task of its own, because building an engine takes minutes."""
        offers = await offers_here()
        while True:
            self._new_on_duty.clear()
            for slot in list(self._slots.values()):
                await self._choose(slot, offers)
            await self._new_on_duty.wait()

    async def _rest_when_idle(self) -> None:
        while True:
            await asyncio.sleep(self._settings.idle_s / 4)
            await idle_ones_rest(list(self._slots.values()), self._settings.idle_s)

    async def _install(self, arrival: Arrival) -> str:
        """Judge a file and put its bundle on duty, or not; return why it has to wait, empty where that is settled."""
        try:
            bundle = await asyncio.to_thread(self._installer.believed, arrival.path)
        except BundleRefused as refused:
            if refused.reason is Refusal.METADATA_EXPIRED and not self._outlets.is_clock_known():
                return "its signatures may have run out: the clock is not known yet"
            fault = (refused.reason, refused.detail)
            self._rows = rollout.unbelieved(self._rows, arrival.sha256, fault, self._outlets.clock_ns())
            await self._tell_refused(arrival.sha256[:12], fault)
            return ""
        except OSError as error:
            return f"not judged: {error.strerror}"
        row = rollout.on_duty(self._rows, bundle.manifest.task)
        if row is not None and row.bundle_id == bundle.bundle_id:
            return await self._mend(row, arrival, bundle)
        return await self._try(arrival, bundle)

    async def _mend(self, row: Row, arrival: Arrival, bundle: Bundle) -> str:
        """Make sure that what is on duty is whole; return why that has to wait, empty where it is settled."""
        try:
            await asyncio.to_thread(self._installer.unpack, arrival.path, bundle)
        except BundleRefused as refused:
            if refused.reason is Refusal.NO_ROOM:
                return refused.reason
            await self._tell_refused(f"{row.task}/{row.version}", (refused.reason, refused.detail))
            return ""
        if row.task not in self._slots:
            self._put_on_duty(row, bundle)
        return ""

    async def _try(self, arrival: Arrival, bundle: Bundle) -> str:
        """Put a bundle on duty once it has shown that it works here; return why that has to wait."""
        manifest = bundle.manifest
        former, before = self._slots.get(manifest.task), self._row_named(bundle.bundle_id)
        was_told = before is not None and before.reason == Refusal.NO_ROOM
        async with self._saving:
            # A save that began without this row would delete what is unpacked meanwhile.
            self._rows = rollout.on_trial(self._rows, bundle, self._outlets.clock_ns())
        try:
            await asyncio.to_thread(self._installer.unpack, arrival.path, bundle)
            # The new one and the former one beside it are to be all that holds memory.
            await self._others_rest(None)
            worker = await self._installer.tried(bundle, former.bundle if former else None)
        except (BundleRefused, EngineFailed) as refused:
            has_to_wait, fault = refused.reason is Refusal.NO_ROOM, (refused.reason, refused.detail)
            self._move(bundle.bundle_id, Event.FAILED, fault)
            if before is not None and before.stage is Stage.FORMER:
                self._rows = rollout.kept_all_the_same(self._rows, before, fault)
            if not (has_to_wait and was_told):
                await self._tell_refused(f"{manifest.task}/{manifest.version}", fault)
            return refused.reason if has_to_wait else ""
        await self._switch(bundle, worker)
        return ""

    async def _switch(self, bundle: Bundle, worker: Worker) -> None:
        """Put a bundle on duty; the one before it ends with the studies that it has begun."""
        manifest = bundle.manifest
        async with self._changing:
            former = self._slots.pop(manifest.task, None)
            self._move(bundle.bundle_id, Event.PASSED)
            slot = self._put_on_duty(next(row for row in self._rows if row.bundle_id == bundle.bundle_id), bundle)
            slot.worker = worker
            if former is not None:
                await _retire(former)
            await self._others_rest(slot)
        self._new_on_duty.set()
        self._outlets.metrics.bundles.labels("taken").inc()
        self._outlets.note("bundle-installed", f"bundle/{manifest.task}/{manifest.version}", "ok")
        log.info("bundle-installed", task=manifest.task, version=manifest.version, bundle=bundle.bundle_id[:12])
        await self._save()

    async def _choose(self, slot: Slot, offers: Sequence[Offer]) -> None:
        """Have a bundle run by what is fastest here, if that was not found out yet for the libraries that are here."""
        row = self._row_of(slot)
        if row is None or not offers or (row.offer == told(offers) and not slot.wants_building):
            return
        slot.wants_building = False
        try:
            chosen = await self._installer.best(slot.bundle, offers)
        except BundleRefused as damaged:
            log.warning("bundle-damaged", task=row.task, detail=damaged.detail)
            return
        self._rows = tuple(
            replace(each, choice=chosen, offer=told(offers)) if each.bundle_id == row.bundle_id else each
            for each in self._rows
        )
        await slot.choose(chosen)
        await self._save_or_later()

    async def _give_up(self, row: Row, fault: tuple[Refusal, str]) -> None:
        """Have the one before it serve again, where the fault is one for that and there is one."""
        former = rollout.former(self._rows, row.task)
        if former is None or rollout.given_up_by(self._rows, row, fault[0]) is None:
            return
        bundle = await asyncio.to_thread(self._bundle_of, former)
        # Meanwhile it may have shown itself steady.
        event = rollout.given_up_by(self._rows, self._row_named(row.bundle_id) or row, fault[0])
        if event is None:
            return
        self._move(row.bundle_id, event, fault)
        slot = self._slots.pop(row.task, None)
        if bundle is not None:
            self._put_on_duty(former, bundle)
        self._outlets.metrics.rolled_back.labels(row.task, fault[0]).inc()
        self._outlets.note("bundle-rolled-back", f"bundle/{row.task}/{row.version}", fault[0])
        log.warning("bundle-rolled-back", task=row.task, version=row.version, reason=fault[0])
        if slot is not None:
            await _retire(slot)
        await self._save_or_later()

    def _bundle_of(self, row: Row) -> Bundle | None:
        """Return a bundle that should lie here; None where the disk has damaged its manifest.  Blocking."""
        try:
            return self._shelf.bundle(row.bundle_id)
        except BundleRefused as damaged:
            log.warning("bundle-damaged", task=row.task, detail=damaged.detail)
            return None

    def _put_on_duty(self, row: Row, bundle: Bundle) -> Slot:
        """Return the new slot of a bundle."""
        place = self._shelf.place(row.bundle_id)
        slot = Slot(bundle, place, row.choice, self._outlets.budget(), self._new_on_duty)
        self._slots[row.task] = slot
        return slot

    def _on_duty(self, task: str, subject: Subject) -> Slot:
        slot = self._slots.get(task)
        if slot is None:
            raise ModelAbsent(task)
        provenance.check(slot.bundle, subject, is_research=self._settings.is_research)
        return slot

    async def _others_rest(self, slot: Slot | None) -> None:
        """End the workers that nobody uses: one model at a time holds memory."""
        await idle_ones_rest([each for each in self._slots.values() if each is not slot], 0)

    async def _awake(self, slot: Slot) -> Worker:
        """Return a slot's worker, started where it does not run; a fault where it does not start."""
        try:
            async with slot.starting:
                if not slot.is_awake:
                    await self._others_rest(slot)
                return await slot.awake(self._settings.means)
        except EngineFailed as failed:
            await self.fault(slot, None, failed)
            raise

    def _row_of(self, slot: Slot) -> Row | None:
        return self._row_named(slot.bundle.bundle_id)

    def _row_named(self, bundle_id: str) -> Row | None:
        return next((row for row in self._rows if row.bundle_id == bundle_id), None)

    def _rows_without_slot(self) -> list[Row]:
        """Return the bundles that should serve and whose manifest the disk has damaged."""
        return [row for row in self._rows if row.stage in ON_DUTY and row.task not in self._slots]

    def _move(self, bundle_id: str, event: Event, fault: tuple[str, str] = ("", "")) -> None:
        self._rows = rollout.moved(self._rows, bundle_id, event, self._outlets.clock_ns(), fault)

    async def _save(self) -> None:
        self._outlets.metrics.serving.clear()
        for task, slot in self._slots.items():
            version = slot.bundle.manifest.version
            self._outlets.metrics.serving.labels(task, version, str(slot.choice)).set(1)
        async with self._saving:
            saving = asyncio.ensure_future(asyncio.to_thread(self._shelf.save, self._rows))
            try:
                await asyncio.shield(saving)
            finally:
                # It goes on where whoever waits for it is cancelled, and must not meet the next.
                await asyncio.wait([saving])

    async def _save_or_later(self) -> None:
        # The next look saves again, and says where the disk takes nothing.
        with suppress(OSError):
            await self._save()

    async def _tell_refused(self, target: str, fault: tuple[str, str]) -> None:
        await self._save()
        self._outlets.metrics.bundles.labels(fault[0]).inc()
        self._outlets.note("bundle-refused", f"bundle/{target}", fault[0])
        log.warning("bundle-refused", bundle=target, reason=fault[0], detail=fault[1])


async def _retire(slot: Slot) -> None:
    slot.is_retired = True
    if not slot.users:
        await slot.rest()
