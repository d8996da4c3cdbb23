"""Judging a bundle's file on this node, step by step: signatures, files, self-test, speed, and by what it runs best."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import structlog
from telemed.bundle import Bundle, BundleRefused, Refusal, parse
from telemed.bundle_archive import Archive
from telemed.bundle_golden import Array, Arrays

from edge_node.errors import EngineFailed
from edge_node.inference import trial
from edge_node.inference.confinement import Unconfined, shield
from edge_node.inference.engine import EVERYWHERE, Choice, Library, Offer
from edge_node.inference.pipe import LINE_LIMIT_BYTES
from edge_node.inference.shelf import Shelf
from edge_node.inference.trust import Trust
from edge_node.inference.worker import PROGRAM, Means, Worker, environment

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

    async def tried(self, bundle: Bundle, former: Bundle | None) -> Worker:
        """Return a worker with a bundle that was unpacked once it has shown that it works here.

        Raises:
            BundleRefused: its golden cases cannot be read, or its self-test took too long.
            EngineFailed: it does not load, or does not give the right answers soon enough.
        """
        subject = trial.Subject.of(bundle, self.shelf.place(bundle.bundle_id))
        until_s = monotonic() + trial.limit_s(bundle.manifest)
        async with AsyncExitStack() as unless_good:
            worker = await self._tested(subject, unless_good)
            if former is not None:
                await self._compare((worker, subject), former, until_s)
            unless_good.pop_all()
        return worker

    async def best(self, bundle: Bundle, offers: Sequence[Offer]) -> Choice:
        """Return by what a bundle runs fastest here with right answers; engines that it needs are built and kept.

        Raises:
            BundleRefused: its golden cases cannot be read any more.
        """
        others = trial.choices(offers, bundle.manifest.precisions())
        if not others:
            return EVERYWHERE
        subject = trial.Subject.of(bundle, self.shelf.place(bundle.bundle_id))
        measured_s = dict[Choice, float]()
        for choice in (EVERYWHERE, *others):
            await self._measure(choice, subject, measured_s)
        chosen = trial.fastest(measured_s) if EVERYWHERE in measured_s else EVERYWHERE
        measured_ms = {str(each): round(1000 * value_s, 2) for each, value_s in measured_s.items()}
        log.info("engine-chosen", task=bundle.manifest.task, engine=str(chosen), measured_ms=measured_ms)
        return chosen

    async def _tested(self, subject: trial.Subject, unless_good: AsyncExitStack) -> Worker:
        limit_s = trial.limit_s(subject.bundle.manifest)
        try:
            async with asyncio.timeout(limit_s):
                worker = await self._worker(subject.bundle, EVERYWHERE, self.means)
                unless_good.push_async_callback(worker.close)
                await trial.self_test(worker, subject, "fp32")
        except TimeoutError as error:
            raise BundleRefused(Refusal.TOO_SLOW, f"its self-test took over {limit_s:g} s") from error
        return worker

    async def _compare(self, new: tuple[Worker, trial.Subject], former: Bundle, until_s: float) -> None:
        subject = trial.Subject.of(former, self.shelf.place(former.bundle_id))
        try:
            worker = await self._worker(former, EVERYWHERE, self.means)
        except EngineFailed as failed:
            _say_unfit(former, failed.reason)
            return
        try:
            new_s, former_s = await trial.times_s([new, (_Former(worker), subject)], until_s)
        except (_FormerFailed, BundleRefused) as failed:
            _say_unfit(former, failed.reason)
            return
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

    def unpack(self, path: Path, bundle: Bundle) -> None:
        """Put the files of a believed bundle where they belong, whatever lies there.  Blocking.

        Raises:
            BundleRefused: they are not what was signed, or there is no room.
        """
        try:
            with Archive(path) as archive:
                self.shelf.put(archive, bundle)
        except OSError as error:
            raise BundleRefused(Refusal.NO_ROOM, str(error.strerror)) from error

    async def _worker(self, bundle: Bundle, choice: Choice, means: Means) -> Worker:
        return await Worker.start(bundle, self.shelf.place(bundle.bundle_id), choice, means)


class _FormerFailed(Exception):
    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Former:
    """Runs the version before: whatever ails it is no fault of the new one's."""

    worker: Worker

    async def run(self, graph_name: str, inputs: Arrays) -> dict[str, Array]:
        try:
            return await self.worker.run(graph_name, inputs)
        except EngineFailed as failed:
            raise _FormerFailed(failed.reason) from failed


def _say_unfit(former: Bundle, reason: Refusal) -> None:
    log.warning("former-bundle-unfit", task=former.manifest.task, reason=reason)


def told(offers: Sequence[Offer]) -> str:
    """Return what a choice depends on of this machine, also of what was not chosen: a newer one may be faster."""
    return "; ".join(f"{each.library} {each.version} {each.device}" for each in offers)


async def offers_here() -> list[Offer]:
    """Ask a worker which libraries this machine has; nothing where it does not say."""
    try:
        rows = [json.loads(line) for line in (await _said_of_offers()).splitlines()]
        return [Offer(Library(row["library"]), str(row["version"]), str(row["device"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, Unconfined) as error:
        log.warning("engines-not-told", reason=type(error).__name__)
        return []


async def _said_of_offers() -> bytes:
    # Of the same user, as every worker.
    shield()
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "--offers", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        limit=LINE_LIMIT_BYTES, env=environment(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(OFFERS_LIMIT_S):
            said, _ = await process.communicate()
            return said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
