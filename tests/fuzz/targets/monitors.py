"""Monitors: the framing, and a whole message from its bytes to what is stored, sent on and answered."""

from collections.abc import Coroutine, Iterable
from datetime import UTC
from typing import TypeVar

from telemed.topics import Up
from telemed.wire import Codec, Kind, Stamp, encode, seal

from cloud_hub.ingest.admit import admit
from edge_node.buffer import payload
from edge_node.config import DeviceConfig, Hl7Config
from edge_node.devices.hl7_monitor import acknowledgement, mllp
from edge_node.devices.hl7_monitor.acknowledgement import Reply
from edge_node.devices.hl7_monitor.counters import Counters
from edge_node.devices.hl7_monitor.identity import Occupant
from edge_node.devices.hl7_monitor.intake import Desk
from edge_node.devices.hl7_monitor.mllp import Frame, FrameReader, wrap
from edge_node.samples.measurement import Intake, NumericSet, Stored, WaveformSet
from tests.edge_node.node_process import EXAMPLE
from tests.fakes.containers import CLINIC, T0_NS
from tests.fuzz.target import SHARED_DATA, Target

FRAME_LIMIT_BYTES = 512
DEVICE = DeviceConfig(device="mon-b02", family="hl7_monitor", bed="B02", eui64="0A1B2CFFFE3D4E5F")
OCCUPANT = Occupant(frozenset({"P-51018201-0093"}), "示例", "1952-03-14", "female")
STAMP = Stamp(T0_NS, 1, 7, 0, 5)
T = TypeVar("T")


def framing(data: bytes) -> None:
    """Pass where frames and memory do not depend on how the bytes were cut, and nothing is made up."""
    whole = FrameReader(FRAME_LIMIT_BYTES).feed(data)
    reader = FrameReader(FRAME_LIMIT_BYTES)
    pieces = [found for byte in data for found in reader.feed(bytes((byte,)))]
    frames = [found for found in whole if isinstance(found, Frame)]
    # Byte by byte a frame may be found too long before it is found to have begun anew.
    cut = [found for found in pieces if isinstance(found, Frame)]
    assert frames[: len(cut)] == cut
    assert all(len(frame.payload) <= FRAME_LIMIT_BYTES and wrap(frame.payload) in data for frame in frames)
    dropped = reader.drop_partial()
    assert dropped is None or dropped.dropped_bytes <= FRAME_LIMIT_BYTES + 1
    lost_bytes = sum(found.dropped_bytes for found in whole if not isinstance(found, Frame))
    assert lost_bytes + sum(len(frame.payload) for frame in frames) <= len(data)


def message(data: bytes) -> None:
    """Pass where a message has one fate and one well-formed answer, and what is taken of it can be stored and sent."""
    kept: list[Intake] = []

    async def deliver(intake: Intake) -> Stored:
        kept.append(intake)
        return Stored.NEW

    desk = Desk(Hl7Config(), [DEVICE], lambda _bed: OCCUPANT, UTC, Counters())
    said, result = finished(desk.take(data, T0_NS, deliver))
    for code in acknowledgement.codes(said.msh if said else None, result.outcome):
        text = acknowledgement.text_of(said, Reply(code, result.errors, "GW-1", T0_NS, UTC))
        assert FrameReader(2 * len(text)).feed(mllp.wrap(text)) == [Frame(text)], "an answer that is no single frame"
    for intake in kept:
        for sample in intake.sets:
            _travels(Up.VITALS, Kind.NUMERIC_SET, "mon-b02/numeric", payload.numeric_body(sample), sample)
        for stretch in intake.waves:
            _travels(Up.WAVES, Kind.WAVEFORM_SET, "mon-b02/wave", payload.wave_body(stretch), stretch)


def _travels(up: Up, kind: Kind, stream: str, body: bytes, sample: NumericSet | WaveformSet) -> None:
    record = seal(stream=stream, kind=kind, epoch=1, seq=1, stamp=STAMP, codec=Codec.PLAIN, payload=body)
    admission = admit(CLINIC, up, encode([record]))
    assert not admission.unusable
    # Two waves of one message may last differently long; the hub keeps such a record aside, with its number counted.
    assert [taken.refusal for taken in admission.records] in ([""], ["wave-length"])
    again = payload.numeric_set(record) if isinstance(sample, NumericSet) else payload.waveform_set(record)
    assert (again.measured_at_ns, again.device) == (sample.measured_at_ns, sample.device)


def finished(work: Coroutine[object, object, T]) -> T:
    """Return the result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits")


def frames() -> Iterable[bytes]:
    """A few streams of frames."""
    yield wrap(b"MSH|one") + wrap(b"MSH|two")
    yield b"stray" + wrap(b"") + b"\x0bbegun \x0banew\x1c\r"
    yield b"\x0b" + bytes(600) + b"\x1c\r"


def messages() -> Iterable[bytes]:
    """The example of the specification, one with a wave, and recorded messages."""
    text = EXAMPLE.format(at="20261126080000.000+0800", control="C1", hr="112", rr="18", spo2="96")
    yield text.encode()
    wave = "OBX|9|NA|131330^MDC_ECG_LEAD_II^MDC|1.1.1.9|1^2^-3^4|266418^MDC_DIM_MILLI_VOLT^MDC|||||R"
    rate = "OBX|10|NM|67981^MDC_ATTR_SAMP_RATE^MDC|1.1.1.9.1|250|264608^MDC_DIM_HZ^MDC|||||R"
    yield "\r".join((text, wave, rate)).encode()
    yield text.replace("UNICODE UTF-8", "GB18030").encode("gb18030")
    for path in sorted((SHARED_DATA / "messages" / "hl7v2").rglob("*.hl7"))[:40]:
        yield path.read_bytes()


MLLP = Target(
    "mllp", "Frames do not depend on how their bytes arrive; memory is bounded by one frame.", framing, frames
)
HL7 = Target(
    "hl7",
    "A message has one fate and one well-formed answer; what is taken from it can be stored, sent and read.",
    message,
    messages,
    16_384,
)
