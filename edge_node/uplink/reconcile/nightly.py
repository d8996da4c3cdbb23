"""Compares every night, and when a command line asks; a comparison that breaks off is begun anew."""

import asyncio
import random
import time
from zoneinfo import ZoneInfo

import structlog
from telemed.errors import Code
from telemed.v1 import reconcile_pb2, reconcile_pb2_grpc

from edge_node.config import EdgeConfig
from edge_node.errors import BufferFailure, HubRefuses, UplinkError
from edge_node.samples.identifiers import uuid7
from edge_node.uplink import backoff
from edge_node.uplink.reconcile.agenda import Night
from edge_node.uplink.reconcile.calls import Calls
from edge_node.uplink.reconcile.diary import Diary, Entry
from edge_node.uplink.reconcile.round import Held, Round, Scope
from edge_node.uplink.transfer.channel import DSCP_BUNDLES
from edge_node.uplink.transfer.client import login
from edge_node.uplink.transfer.pace import Pace

LOOK_EVERY_S = 2.0
"""How soon is noticed what a command line asks."""
TRIES = 6
HOUR_NS = 3600 * 10**9
COUNTS = ("streams", "compared", "healed", "open", "lost", "conflicts", "damaged")

log = structlog.get_logger(__name__)


class Reconciler:
    """The node's comparisons; `run` is called once."""

    def __init__(self, config: EdgeConfig, held: Held, pace: Pace) -> None:
        """Connect nothing yet.

        Args:
            config: of the node.
            held: the buffer.
            pace: port of the node's scheduler.

        Raises:
            ConfigRefused: the file with the node's secret cannot be read.
        """
        self._config = config
        self._held, self._pace = held, pace
        self._login = login(config)
        self._diary = Diary(config.buffer.folder)
        asked = config.reconcile
        self._night = Night(asked.hour, asked.spread_minutes, config.node.node, ZoneInfo(config.node.timezone))

    async def run(self) -> None:
        """Compare when it is time, until cancelled."""
        last = await asyncio.to_thread(self._diary.last)
        if last is None:
            last = Entry(time.time_ns())
            await self._remember(last)
        while True:
            is_asked = await asyncio.to_thread(self._diary.is_asked)
            is_due = self._night.due_ns(last.ended_ns, time.time_ns()) <= time.time_ns()
            if is_asked or (is_due and self._config.reconcile.enabled):
                last = await self._until_done("asked" if is_asked else "nightly")
                await self._remember(last)
                # Only now: a node that is killed on the way begins again.
                await asyncio.to_thread(self._diary.answered, last.began_ns)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _until_done(self, reason: str) -> Entry:
        """Compare; try again where it broke off, TRIES times before it is left to the next night."""
        began_ns, uplink, code = time.time_ns(), self._config.uplink, ""
        for failures in range(TRIES):
            if failures:
                await asyncio.sleep(
                    backoff.wait_s(failures, uplink.first_retry_s, uplink.longest_retry_s, random.random)
                )
            try:
                report = await self._once(reason)
            except HubRefuses as failure:
                code = failure.reason_code
            except (UplinkError, BufferFailure) as failure:
                code = Code.LINK_DOWN if isinstance(failure, UplinkError) else failure.code
            else:
                counts = {name: int(getattr(report, name)) for name in COUNTS}
                log.info("reconcile.done", reason=reason, **counts)
                return Entry(time.time_ns(), began_ns, "", counts)
        log.warning("reconcile.given-up", reason=reason, code=code)
        return Entry(time.time_ns(), began_ns, code)

    async def _once(self, reason: str) -> reconcile_pb2.ReconcileReport:
        now_ns, asked = time.time_ns(), self._config.reconcile
        nights = 1 if reason == "asked" else asked.all_every_nights
        since_ns = now_ns - asked.recent_hours * HOUR_NS
        scope = Scope(reason, since_ns, self._night.number(now_ns), nights)
        async with self._login.channel(DSCP_BUNDLES) as channel:
            calls = Calls(self._login, reconcile_pb2_grpc.ReconcileStub(channel), self._pace)
            return await Round(uuid7(now_ns), self._held, calls).run(scope)

    async def _remember(self, entry: Entry) -> None:
        try:
            await asyncio.to_thread(self._diary.write, entry)
        except OSError as error:
            # A full disk: the night is kept in memory, and compared once more after a restart.
            log.warning("reconcile.not-remembered", why=error.strerror)
