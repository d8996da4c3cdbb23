"""MLLP server for bedside monitors: frames in, `deliver`, and only then the acknowledgement."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from ipaddress import ip_address
from itertools import count
from zoneinfo import ZoneInfo

import structlog

from edge_node.config import DeviceConfig, Hl7Config
from edge_node.devices.hl7_monitor import acknowledgement, mllp
from edge_node.devices.hl7_monitor.acknowledgement import Outcome, Reply, Result
from edge_node.devices.hl7_monitor.counters import Counters
from edge_node.devices.hl7_monitor.devclock import ClockState
from edge_node.devices.hl7_monitor.frames import Message
from edge_node.devices.hl7_monitor.identity import Occupant
from edge_node.devices.hl7_monitor.intake import Desk
from edge_node.devices.hl7_monitor.numerics import FieldError
from edge_node.samples.clockstep import ClockSteps
from edge_node.samples.measurement import Deliver

MOST_CONNECTIONS = 256
_CHUNK_BYTES = 64 * 1024
_CLOSE_LIMIT_S = 2.0
_FRAME_LIMIT_STALLS = 10
"""A frame that trickles is dropped after this many times the stall limit."""
_log = structlog.get_logger(__name__)

Clock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Site:
    """What the receiver must know of its site."""

    occupant: Callable[[str], Occupant | None]
    """Who lies in a bed now; called once a message, on the event loop, so it must be quick."""
    timezone: str = "Asia/Shanghai"
    """Zone of device times without an offset."""


class Hl7Monitor:
    """Receives ORU^R01 from the enrolled monitors until cancelled.

    Messages of one connection are handled in order, connections concurrently.  A message is acknowledged
    only after `deliver` has returned, that is after the synced commit; where it cannot be stored the sender is
    told to try again (AR).  `listening` is set while the port is open.
    """

    def __init__(
        self,
        config: Hl7Config,
        devices: Sequence[DeviceConfig],
        site: Site,
        *,
        clock_ns: Clock = time.time_ns,
        steady_ns: Clock | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            config: port and limits.
            devices: those that are enrolled, of all families.
            site: who lies where, and the zone.
            clock_ns: the node's clock, which is set now and then.
            steady_ns: one that never is (CLOCK_BOOTTIME); without it the node's clock is taken for steady.
        """
        self.counters = Counters()
        self.listening = asyncio.Event()
        self._config = config
        self._clock_ns, self._steady_ns = clock_ns, steady_ns or clock_ns
        self._steps = ClockSteps(self._clock_ns(), self._steady_ns())
        self._zone: tzinfo = ZoneInfo(site.timezone)
        enrolled = tuple(device for device in devices if device.family == "hl7_monitor")
        self._desk = Desk(config, enrolled, site.occupant, self._zone, self.counters)
        self._answer_prefix = f"GW-{int(time.time()):x}-"
        self._answer_numbers = count(1)

    def clocks(self) -> dict[str, ClockState]:
        """Return what is known of the clocks of the devices that have spoken since the start."""
        return self._desk.clocks()

    async def run(self, deliver: Deliver) -> None:
        """Serve the port; raises OSError where it cannot be opened."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.create_task(self._connection(reader, writer, deliver))

        loop = asyncio.get_running_loop()
        host, port = self._config.host, self._config.port
        server = await asyncio.start_server(accept, host, port, limit=_CHUNK_BYTES, start_serving=False)
        async with server, asyncio.TaskGroup() as connections:
            try:
                await server.start_serving()
                self.listening.set()
                _log.info("hl7 port open", host=host, port=port)
                if not _is_loopback(host):
                    _log.warning("hl7 port is plain TCP: for a clinic network of its own only")
                # Not serve_forever: from Python 3.12 on its end waits for connections that end after it.
                await loop.create_future()
            finally:
                self.listening.clear()
                server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deliver: Deliver) -> None:
        if self.counters.connections_open >= MOST_CONNECTIONS:
            self.counters.connections_refused += 1
            writer.close()
            return
        self.counters.connections_open += 1
        self.counters.connections_total += 1
        try:
            # A peer that goes away is nothing to report here: silence of its device is an alarm of its own.
            with contextlib.suppress(OSError):
                await self._serve(reader, writer, deliver)
        except Exception:
            # One monitor's message must not silence the others: this is the supervisor of a connection.
            _log.exception("hl7 connection failed")
        finally:
            self.counters.connections_open -= 1
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_LIMIT_S):
                    await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deliver: Deliver) -> None:
        frames = mllp.FrameReader(self._config.frame_limit_kib * 1024)
        begun_at_s = 0.0
        while True:
            was_begun = frames.is_begun
            try:
                async with asyncio.timeout(self._config.stall_s if was_begun else self._config.idle_s):
                    chunk = await reader.read(_CHUNK_BYTES)
            except TimeoutError:
                if not was_begun:
                    return
                self._count_fault(frames.drop_partial())
                continue
            if not chunk:
                self._count_fault(frames.drop_partial())
                return
            for found in frames.feed(chunk):
                if not await self._take(found, writer, deliver):
                    return
            now_s = asyncio.get_running_loop().time()
            if not (was_begun and frames.is_begun):
                begun_at_s = now_s
            elif now_s - begun_at_s > _FRAME_LIMIT_STALLS * self._config.stall_s:
                self._count_fault(frames.drop_partial())

    def _arrival_ns(self) -> int:
        now_ns = self._clock_ns()
        by_ns = self._steps.take(now_ns, self._steady_ns())
        if by_ns:
            self._desk.clock_set(by_ns)
        return now_ns

    async def _take(self, found: mllp.Frame | mllp.Fault, writer: asyncio.StreamWriter, deliver: Deliver) -> bool:
        """Handle one frame or fault; False where the connection must be closed."""
        if isinstance(found, mllp.Frame):
            self.counters.frames += 1
            message, result = await self._desk.take(found.payload, self._arrival_ns(), deliver)
            await self._answer(message, result, writer)
            return True
        self._count_fault(found)
        if found.kind is not mllp.FaultKind.TOO_LONG:
            return True
        error = FieldError("MSH", 1, 0, "207", "Message over the size limit")
        await self._answer(None, Result(Outcome.REFUSED, (error,)), writer)
        return False

    async def _answer(self, message: Message | None, result: Result, writer: asyncio.StreamWriter) -> None:
        codes = acknowledgement.codes(message.msh if message else None, result.outcome)
        for code in codes:
            self.counters.answers[code] += 1
            control_id = f"{self._answer_prefix}{next(self._answer_numbers)}"
            reply = Reply(code, result.errors, control_id, self._clock_ns(), self._zone)
            writer.write(mllp.wrap(acknowledgement.text_of(message, reply)))
        if not codes:
            self.counters.answers["none"] += 1
        async with asyncio.timeout(self._config.stall_s):
            await writer.drain()

    def _count_fault(self, fault: mllp.Fault | None) -> None:
        if fault is None:
            return
        self.counters.frame_faults[fault.kind] += 1
        self.counters.dropped_bytes += fault.dropped_bytes
        if fault.kind is not mllp.FaultKind.STRAY_BYTES:
            _log.warning("hl7 frame dropped", fault=str(fault.kind), dropped_bytes=fault.dropped_bytes)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
