"""What the tests of the HL7 receiver share: the example of clinical 3.1, enrolled devices, a running server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from edge_node.config import DeviceConfig, Hl7Config
from edge_node.devices.hl7_monitor import mllp
from edge_node.devices.hl7_monitor.driver import Hl7Monitor, Site
from edge_node.devices.hl7_monitor.identity import Occupant
from edge_node.errors import BufferFull
from edge_node.samples.measurement import Intake, NumericSet, Stored, Value
from tests.fakes.ports import free_port

EXAMPLE_LINES = r"""
MSH|^~\&|QY-MON^0A1B2CFFFE3D4E5F^EUI-64|BAOSHAN-CLINIC|EDGE-GW^0A1B2CFFFE000001^EUI-64|BAOSHAN-EDGE|20261120073015.250+0800||ORU^R01^ORU_R01|BS01-20261120-000417|P|2.6|||NE|AL|CHN|UNICODE UTF-8|||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO
PID|||P-51018201-0093^^^BAOSHAN&2.999.1.7&ISO^MR||示例^患者^^^^^L||19520314|F
PV1||O|OBS^R1^B02^BAOSHAN-CLINIC
OBR|1|BS01-20261120-000417^EDGE-GW^0A1B2CFFFE000001^EUI-64|BS01-20261120-000417^QY-MON^0A1B2CFFFE3D4E5F^EUI-64|182777000^monitoring of patient^SCT|||20261120073000+0800|20261120073015+0800
OBX|1||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|1.0.0.0|||||||X
OBX|2||69798^MDC_DEV_ECG_VMD^MDC|1.1.0.0|||||||X
OBX|3|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.1.1|112|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||R|||||||0A1B2CFFFE3D4E5F^^0A1B2CFFFE3D4E5F^EUI-64
OBX|4|NM|151562^MDC_RESP_RATE^MDC|1.1.1.2|22|264928^MDC_DIM_RESP_PER_MIN^MDC|||||R|||||||0A1B2CFFFE3D4E5F^^0A1B2CFFFE3D4E5F^EUI-64
OBX|5||69642^MDC_DEV_ANALY_SAT_O2_VMD^MDC|1.2.0.0|||||||X
OBX|6|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.2.1.1|93|262688^MDC_DIM_PERCENT^MDC|||||R|||||||0A1B2CFFFE3D4E5F^^0A1B2CFFFE3D4E5F^EUI-64
OBX|7|NM|149530^MDC_PULS_OXIM_PULS_RATE^MDC|1.2.1.2|112|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||R|||||||0A1B2CFFFE3D4E5F^^0A1B2CFFFE3D4E5F^EUI-64
OBX|8||69854^MDC_DEV_METER_PRESS_BLD_VMD^MDC|1.3.0.0|||||||X
OBX|9||70687^MDC_DEV_PRESS_BLD_NONINV_CHAN^MDC|1.3.1.0|||||||X
OBX|10|NM|150021^MDC_PRESS_BLD_NONINV_SYS^MDC|1.3.1.1|105|266016^MDC_DIM_MMHG^MDC|||||R|||20261120072810+0800||||0A1B2CFFFE3D4E5F^^0A1B2CFFFE3D4E5F^EUI-64
OBX|11|NM|150022^MDC_PRESS_BLD_NONINV_DIA^MDC|1.3.1.2|62|266016^MDC_DIM_MMHG^MDC|||||R|||20261120072810+0800||||0A1B2CFFFE3D4E5F^^0A1B2CFFFE3D4E5F^EUI-64
OBX|12|NM|150023^MDC_PRESS_BLD_NONINV_MEAN^MDC|1.3.1.3|76|266016^MDC_DIM_MMHG^MDC|||||R|||20261120072810+0800||||0A1B2CFFFE3D4E5F^^0A1B2CFFFE3D4E5F^EUI-64
OBX|13||69902^MDC_DEV_METER_TEMP_VMD^MDC|1.4.0.0|||||||X
OBX|14|NM|150364^MDC_TEMP_BODY^MDC|1.4.1.1|38.4|268192^MDC_DIM_DEGC^MDC|||||R|||||||0A1B2CFFFE3D4E5F^^0A1B2CFFFE3D4E5F^EUI-64
"""  # noqa: E501 - one segment is one line
EXAMPLE_TEXT = EXAMPLE_LINES.strip().replace("\n", "\r") + "\r"
EXAMPLE = EXAMPLE_TEXT.encode()
EXAMPLE_SENT_NS = 1_795_131_015_250_000_000
"""MSH-7 of the example: 2026-11-20T07:30:15.250+08:00."""
SECOND_NS = 1_000_000_000

DEVICE = DeviceConfig(
    device="mon-b02",
    family="hl7_monitor",
    bed="B02",
    eui64="0A1B2CFFFE3D4E5F",
    locations=["OBS^R1^B02^BAOSHAN-CLINIC"],
)
OCCUPANT = Occupant(frozenset({"P-51018201-0093"}), "示例", "1952-03-14", "female")


@dataclass
class Store:
    """Remembers what was delivered, as the buffer does: a second time the same key is a duplicate."""

    intakes: list[Intake] = field(default_factory=list)
    is_full: bool = False
    gate: asyncio.Event | None = None
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, intake: Intake) -> Stored:
        self.waiting.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.is_full:
            raise BufferFull("no room")
        if intake.dedup_key and any(intake.dedup_key == other.dedup_key for other in self.intakes):
            return Stored.DUPLICATE
        self.intakes.append(intake)
        return Stored.NEW

    @property
    def sets(self) -> list[NumericSet]:
        return [part for intake in self.intakes for part in intake.sets]

    @property
    def values(self) -> dict[str, Value]:
        return {value.measure: value for part in self.sets for value in part.values}


@dataclass
class Line:
    """The monitor's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, payload: bytes) -> None:
        self.writer.write(mllp.wrap(payload))
        await self.writer.drain()

    async def answer(self) -> str:
        framed = await self.reader.readuntil(b"\x1c\r")
        assert framed[:1] == b"\x0b"
        return framed[1:-2].decode()

    async def ask(self, payload: bytes) -> str:
        await self.send(payload)
        return await self.answer()


@dataclass
class Rig:
    """A running receiver with its store."""

    monitor: Hl7Monitor
    store: Store
    port: int
    now_ns: list[int]

    @contextlib.asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Line(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


StartRig = Callable[..., contextlib.AbstractAsyncContextManager[Rig]]


@contextlib.asynccontextmanager
async def run_rig(
    *devices: DeviceConfig,
    occupant: Occupant | None = OCCUPANT,
    now_ns: int = EXAMPLE_SENT_NS,
    steady_ns: Callable[[], int] | None = None,
    **settings: float,
) -> AsyncIterator[Rig]:
    port = free_port()
    clock = [now_ns]
    config = Hl7Config.model_validate({"port": port, **settings})
    site = Site(lambda _bed: occupant)
    monitor = Hl7Monitor(config, devices or (DEVICE,), site, clock_ns=lambda: clock[0], steady_ns=steady_ns)
    store = Store()
    task = asyncio.create_task(monitor.run(store.deliver))
    try:
        await monitor.listening.wait()
        yield Rig(monitor, store, port, clock)
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def rig() -> StartRig:
    """Starts a receiver: `async with rig(DEVICE, occupant=...) as running`."""
    return run_rig
