"""Judging a bundle's file on this node, step by step: signatures, files, self-test, speed, and by what it runs best."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from telemed import bundle_golden
from telemed.bundle import Bundle, BundleRefused, Refusal, parse
from telemed.bundle_archive import Archive

from edge_node.errors import EngineFailed
from edge_node.inference import trial
from edge_node.inference.engine import EVERYWHERE, Choice, Library, Offer
from edge_node.inference.pipe import LINE_LIMIT_BYTES
from edge_node.inference.shelf import Shelf
from edge_node.inference.trust import Trust
from edge_node.inference.worker import PROGRAM, Means, Worker, environment

TRIAL_LIMIT_S = 55.0
"""A bundle that has not shown by then that it works here is refused (reliability 4.4, row 38: within 60 s)."""
OFFERS_LIMIT_S = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Installer:
    """Judges bundles, one at a time."""

    shelf: Shelf
    trust: Trust
    means: Means
    slow_factor: float
    """So many times slower than the one before it a bundle may be."""

    def believed(self, path: Path) -> Bundle:
        """Return the bundle in a file once its signatures are believed.  Blocking.

        Raises:
            BundleRefused: it is not a bundle, or not one for this node.
            OSError: what was seen cannot be kept.
        """
        with Archive(path) as archive:
            bundle = parse(archive.manifest())
            self.trust.check(archive, bundle)
            return bundle

    async def tried(self, path: Path, bundle: Bundle, former: Bundle | None) -> Worker:
        """Return a worker with a believed bundle once it has shown that it works here.

        Raises:
            BundleRefused: its files are not what was signed, there is no room, or its self-test took too long.
            EngineFailed: it does not load, or does not give the right answers soon enough.
        """
        await asyncio.to_thread(self._unpack, path, bundle)
        subject = await asyncio.to_thread(self._subject, bundle)
        worker: Worker | None = None
        is_good = False
        try:
            async with asyncio.timeout(TRIAL_LIMIT_S):
                worker = await self._worker(bundle, EVERYWHERE, self.means)
                await trial.self_test(worker, subject, "fp32")
                if former is not None:
                    await self._compare((worker, subject), former)
            is_good = True
        except TimeoutError as error:
            raise BundleRefused(Refusal.TOO_SLOW, f"its self-test took over {TRIAL_LIMIT_S:g} s") from error
        finally:
            if worker is not None and not is_good:
                await worker.close()
        return worker

    async def best(self, bundle: Bundle, offers: Sequence[Offer]) -> Choice:
        """Return by what a bundle runs fastest here with right answers; engines that it needs are built and kept.

        Raises:
            BundleRefused: its golden cases cannot be read any more.
        """
        others = trial.choices(offers, bundle.manifest.precisions())
        if not others:
            return EVERYWHERE
        subject = await asyncio.to_thread(self._subject, bundle)
        measured_s = dict[Choice, float]()
        for choice in (EVERYWHERE, *others):
            await self._measure(choice, subject, measured_s)
        chosen = trial.fastest(measured_s) if EVERYWHERE in measured_s else EVERYWHERE
        measured_ms = {str(each): round(1000 * value_s, 2) for each, value_s in measured_s.items()}
        log.info("engine-chosen", task=bundle.manifest.task, engine=str(chosen), measured_ms=measured_ms)
        return chosen

    async def _compare(self, new: tuple[Worker, trial.Subject], former: Bundle) -> None:
        try:
            subject = await asyncio.to_thread(self._subject, former)
            worker = await self._worker(former, EVERYWHERE, self.means)
        except (BundleRefused, EngineFailed) as failed:
            # Whatever ails the former one is no fault of the new one's.
            log.warning("former-bundle-unfit", task=former.manifest.task, reason=failed.reason)
            return
        try:
            new_s, former_s = await trial.times_s([new, (worker, subject)])
        finally:
            await worker.close()
        trial.judge_speed(new_s, former_s, self.slow_factor)

    async def _measure(self, choice: Choice, subject: trial.Subject, measured_s: dict[Choice, float]) -> None:
        try:
            worker = await self._worker(subject.bundle, choice, replace(self.means, may_build=True))
            try:
                await trial.self_test(worker, subject, choice.precision)
                (measured_s[choice],) = await trial.times_s([(worker, subject)])
            finally:
                await worker.close()
        except EngineFailed as failed:
            log.info("engine-unfit", engine=str(choice), reason=failed.reason, detail=failed.detail)

    def _unpack(self, path: Path, bundle: Bundle) -> None:
        try:
            with Archive(path) as archive:
                self.shelf.put(archive, bundle)
        except OSError as error:
            raise BundleRefused(Refusal.NO_ROOM, str(error.strerror)) from error

    def _subject(self, bundle: Bundle) -> trial.Subject:
        folder, graphs = self.shelf.place(bundle.bundle_id), bundle.manifest.graphs
        cases = [
            (case.graph, bundle_golden.read(folder / case.file, graphs[case.graph])) for case in bundle.manifest.golden
        ]
        return trial.Subject(bundle, cases)

    async def _worker(self, bundle: Bundle, choice: Choice, means: Means) -> Worker:
        return await Worker.start(bundle, self.shelf.place(bundle.bundle_id), choice, means)


def told(offers: Sequence[Offer], choice: Choice) -> str:
    """Return what a choice depends on of this machine, empty where the machine has it no more."""
    return next((f"{each.version} {each.device}" for each in offers if each.library == choice.library), "")


async def offers_here() -> list[Offer]:
    """Ask a worker which libraries this machine has; nothing where it does not say."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "--offers", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        limit=LINE_LIMIT_BYTES, env=environment(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(OFFERS_LIMIT_S):
            said, _ = await process.communicate()
    except TimeoutError:
        log.warning("engines-not-told")
        return []
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    rows = [json.loads(line) for line in said.splitlines()]
    return [Offer(Library(row["library"]), row["version"], row["device"]) for row in rows]
