"""Recordings of real patients through player, MLLP, node, broker and hub: complete and bit-exact at both ends."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import wfdb
from sqlalchemy import create_engine
from telemed.v1 import sample_pb2

from cloud_hub.store import samples
from edge_node.devices.simulated.playback import Recording
from edge_node.samples.measurement import Channel
from tests.region.region import ROOT, Clinic, Region, running, until
from tests.region.screen import Screen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
NUMERICS = "s25047/s25047-2704-05-04-10-44n"
WAVES = "s25047/s25047-2704-05-04-10-44"
SITE = "baoshan-clinic"
FOREVER_NS = 2**62
MOST_RECORDS = 100_000
SHORT_SAMPLES = 24
"""So many minutes lie within the time in which a measurement may still alarm."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a recording that the monitor at one bed plays."""

    bed: str
    record: str
    first_s: float
    seconds: float
    """0 = to the end."""


PARTS = (
    Part("B01", NUMERICS, 0, 0),
    # One record in two halves, at two monitors at a time.
    Part("B02", WAVES, 0, 2000),
    Part("B03", WAVES, 2000, 0),
    Part("B04", "100", 0, 0),
)
REPLAY, LIVE = "B05", "B06"
CLINIC = Clinic(beds=("B01", "B02", "B03", "B04", REPLAY, LIVE))


@dataclass(frozen=True, slots=True)
class Arrived:
    """What the hub's store holds of one device, in the order of its stream."""

    numerics: list[sample_pb2.NumericSet]
    waves: list[sample_pb2.WaveformSet]


def stored(region: Region, device: str) -> Arrived:
    """Read the hub's store as it is on disk."""
    engine = create_engine(f"sqlite:///{region.folder / 'hub' / 'samples.db'}")
    with engine.connect() as connection:
        streams = samples.streams_of(connection, SITE, [device])
        found: dict[str, list[bytes]] = {"numeric": [], "wave": []}
        for stream in streams:
            rows = samples.records_between(connection, [stream.id], 0, FOREVER_NS, MOST_RECORDS)
            found[stream.kind] = [row.record.body() for row in sorted(rows, key=lambda row: row.record.seq)]
    engine.dispose()
    return Arrived(
        [sample_pb2.NumericSet.FromString(body) for body in found["numeric"]],
        [sample_pb2.WaveformSet.FromString(body) for body in found["wave"]],
    )


def channel_of(told: sample_pb2.Channel) -> Channel:
    """The channel as the edge had it: its digits are sums of the differences."""
    digits = np.cumsum(np.array(told.deltas, dtype=np.int64)).astype(np.int32)
    return Channel(
        told.measure,
        told.rate_mhz / 1000,
        digits,
        told.gain,
        told.baseline,
        told.unit,
        told.label,
        tuple(told.invalid_digits),
    )


def checksums(stretches: Sequence[Sequence[Channel]]) -> dict[str, tuple[int, str]]:
    """By lead: number of digits, and hash over digits, gain, baseline, rate and invalid digits in order."""
    counts: dict[str, int] = {}
    hashes: dict[str, hashlib._Hash] = {}
    for channel in (channel for stretch in stretches for channel in stretch):
        kept = hashes.setdefault(channel.label, hashlib.sha256())
        counts[channel.label] = counts.get(channel.label, 0) + channel.digits.size
        facts = (channel.measure, channel.gain, channel.baseline, channel.rate_hz, channel.invalid_digits)
        kept.update(repr(facts).encode() + channel.digits.astype("<i4").tobytes())
    return {label: (counts[label], kept.hexdigest()) for label, kept in hashes.items()}


def play(region: Region, bed: str, record: Path, part: Part | None = None) -> subprocess.Popen[str]:
    """Start a monitor's process that plays a record as fast as it is acknowledged."""
    first_s, seconds = (part.first_s, part.seconds) if part else (0, 0)
    words = [sys.executable, "-m", "edge_node.devices.simulated", "play", str(record), "--eui64", CLINIC.eui64(bed)]
    words += ["--port", str(region.ports["edge-clinic.hl7"]), "--speed", "0"]
    words += ["--first", str(first_s), "--seconds", str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a player's end and return what it said."""
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told
    return told


def short_record(shared_data: Path, folder: Path) -> Path:
    """Write a record of the first minutes of the numerics: the same digits under a shorter header."""
    vitals = shared_data / "vitals" / NUMERICS
    text = vitals.with_suffix(".hea").read_text()
    head, *signals = text.splitlines()
    name, count, rate, _length, *_ = head.split()
    folder.joinpath("3234460n.dat").write_bytes((vitals.parent / "3234460n.dat").read_bytes())
    path = folder / f"{name}.hea"
    path.write_text("\n".join([f"{name} {count} {rate} {SHORT_SAMPLES}", *signals, ""]))
    return path


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    return short_record(shared_data, tmp_path_factory.mktemp("record"))


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory, short: Path) -> Iterator[Region]:
    device = (
        f'[[devices]]\ndevice = "lecture"\nfamily = "recorded"\nbed = "{REPLAY}"\nrecord = "{short}"\nspeed = 100\n'
    )
    # The recordings are played as measured before now: the persons must have been there.
    since = (datetime.now(UTC) - timedelta(hours=6)).isoformat(timespec="seconds")
    clinic = Clinic(beds=CLINIC.beds, extra=device, since=since)
    with running(Region(tmp_path_factory.mktemp("region"), (clinic,))) as started:
        yield started


def texts(sets: Sequence[sample_pb2.NumericSet]) -> list[dict[str, str]]:
    return [{one.measure: one.value for one in each.values} for each in sets]


def texts_of(recording: Recording) -> list[dict[str, str]]:
    with closing(recording):
        return [{one.measure: one.value for one in timed.stretch.readings} for timed in recording.stretches()]


def test_recordings_arrive_at_the_hub_complete_and_bit_exact(region: Region, shared_data: Path) -> None:
    vitals = shared_data / "vitals"
    players = {part: play(region, part.bed, vitals / f"{part.record}.hea", part) for part in PARTS}
    told = {part: ended(process) for part, process in players.items()}
    for part in PARTS:
        _compare(region, part, vitals / f"{part.record}.hea", told[part])
    assert "missing: 3234460_0001/ABP: not recorded" in told[PARTS[1]]
    assert re.search(r"missing: ~: gap \(205.92 s", told[PARTS[1]])


def _compare(region: Region, part: Part, path: Path, told: str) -> None:
    """Check that the hub holds all of a part, once, as it stands in the file, and that what is missing was named."""
    device, is_numeric = f"mon-{part.bed.lower()}", part.record == NUMERICS
    with closing(Recording(path, 0, first_s=part.first_s, length_s=part.seconds)) as source:
        sent = [timed.stretch for timed in source.stretches()]
        missing = [f"missing: {one}" for one in source.missing]

    def records() -> int:
        found = stored(region, device)
        return len(found.numerics if is_numeric else found.waves)

    until(lambda: records() >= len(sent), 60, f"{len(sent)} records of {device}")
    arrived = stored(region, device)
    assert f"played: {len(sent)} messages" in told
    assert records() == len(sent)
    if is_numeric:
        assert texts(arrived.numerics) == [{one.measure: one.value for one in each.readings} for each in sent]
    expected = checksums([stretch.channels for stretch in sent])
    assert checksums([[channel_of(one) for one in each.channels] for each in arrived.waves]) == expected
    assert bool(expected) is not is_numeric
    assert [line for line in told.splitlines() if line.startswith("missing: ")] == missing


def test_the_digits_at_the_hub_are_those_of_an_independent_reader(region: Region, shared_data: Path) -> None:
    part = PARTS[3]
    expected = wfdb.rdrecord(str(shared_data / "vitals" / part.record), physical=False)
    arrived = stored(region, f"mon-{part.bed.lower()}").waves
    for index, name in enumerate(expected.sig_name):
        digits = [channel_of(one).digits for each in arrived for one in each.channels if one.label == name]
        assert np.array_equal(np.concatenate(digits), expected.d_signal[:, index])


def test_a_replay_on_the_node_is_stamped_and_neither_alarms_nor_is_filed(region: Region, short: Path) -> None:
    ended(play(region, LIVE, short))
    expected = texts_of(Recording(short, 0))
    until(lambda: len(stored(region, "lecture").numerics) >= SHORT_SAMPLES, 60, "the whole record from the node")
    replayed = stored(region, "lecture").numerics

    assert texts(replayed)[:SHORT_SAMPLES] == expected
    assert {one.origin for one in replayed} == {sample_pb2.ORIGIN_REPLAY}
    with closing(region.signed_in(region.hub_url, "physician")) as client:
        # The same values from a monitor do alarm and are filed.
        until(lambda: f"{SITE}:{LIVE}" in _alarmed(client), 10, "an alarm of the same values from a monitor")
        assert f"{SITE}:{REPLAY}" not in _alarmed(client)
        beds = {bed["key"]: bed for bed in _snapshot(client)["beds"]}
    assert beds[f"{SITE}:{REPLAY}"]["not_live"] == "replay"
    with closing(region.fhir()) as api:
        # An alarm may be there before the values that raised it: it has a way of its own.
        until(lambda: _observations(api, CLINIC.patient_id(LIVE)) > 0, 10, "values of the monitor filed under a person")
        assert _observations(api, CLINIC.patient_id(REPLAY)) == 0


def _snapshot(client: httpx.Client) -> dict[str, Any]:
    screen = Screen(client)
    screen.socket.close()
    return screen.snapshot


def _alarmed(client: httpx.Client) -> set[str]:
    """Beds with an alarm about the patient."""
    return {alarm["bed_key"] for alarm in _snapshot(client)["alarms"] if not alarm["technical"]}


def _observations(api: httpx.Client, patient_id: str) -> int:
    patient = api.get("/fhir/R4/Patient", params={"identifier": patient_id}).json()["entry"][0]["resource"]["id"]
    answer = api.get("/fhir/R4/Observation", params={"patient": f"Patient/{patient}"})
    assert answer.status_code == 200, answer.text
    return len(answer.json().get("entry", []))
