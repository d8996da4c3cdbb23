"""When a node renews its certificate, what it keeps when that fails, and whose time it goes by."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.enrolment import RENEWAL, Refusal, is_signed
from telemed.topics import NodeAddress
from telemed.v1 import enrolment_pb2

from cloud_hub.access import device_ca
from edge_node.buffer.clock import NodeClock, boottime_ns
from edge_node.errors import ConfigRefused, EnrolmentFailed
from edge_node.uplink.certificates import IDENTITY, NEXT_KEY, CertificateFolder
from edge_node.uplink.enrolment.renewal import UNSURE_FOR_S, Renewer

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
HOME = NodeAddress("baoshan", "heming-home", "edge-home")
BEGAN = datetime(2026, 11, 26, 12, tzinfo=UTC)
WEEK, NS = timedelta(days=7), 10**9
AUTHORITY = device_ca.new_authority("baoshan")

pytestmark = pytest.mark.anyio


class Clock:
    """A node's clock, moved by hand; remembers what it was told of the hub's."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.offset_ms: int | None = 0
        self.heard_ns: list[int] = []

    def now_ns(self) -> int:
        return round(self.now.timestamp() * NS)

    def hub_offset_ms(self) -> int | None:
        return self.offset_ms

    def hear(self, ahead_ns: int, error_ns: int, at_ns: int) -> None:
        assert 0 <= error_ns < NS
        self.heard_ns.append(ahead_ns + at_ns)


class Steady:
    """A clock that never steps, moved by hand."""

    def __init__(self) -> None:
        self.now_ns = 10 * NS


class Door:
    """The hub's door: signs, refuses, or is away."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reason = ""
        self.keys: list[ec.EllipticCurvePublicKey] = []
        self.names = CLINIC

    def __call__(self, certificate_der: bytes, request_der: bytes, signature: bytes) -> enrolment_pb2.Issued:
        shown = x509.load_der_x509_certificate(certificate_der)
        assert is_signed(shown, signature, RENEWAL, request_der)
        key = device_ca.read_request(request_der)
        self.keys.append(key)
        if self.reason:
            raise EnrolmentFailed(self.reason, "said in words")
        certificate = device_ca.for_node(AUTHORITY, key, self.names, self.clock.now, WEEK)
        return enrolment_pb2.Issued(
            certificate_der=certificate.public_bytes(Encoding.DER),
            trust_der=[AUTHORITY.certificate.public_bytes(Encoding.DER)],
            hub_unix_ns=self.clock.now_ns(),
        )


@pytest.fixture
def folder(tmp_path: Path) -> CertificateFolder:
    found = CertificateFolder(tmp_path)
    key = device_ca.new_key()
    certificate = device_ca.for_node(AUTHORITY, key.public_key(), CLINIC, BEGAN, WEEK)
    found.take(key, certificate, [AUTHORITY.certificate.public_bytes(Encoding.DER)])
    return found


async def test_a_certificate_is_renewed_at_two_thirds_of_its_life_and_not_before(folder: CertificateFolder) -> None:
    clock = Clock()
    door, before = Door(clock), folder.read()
    renewer = Renewer(folder, clock, door)
    clock.now = BEGAN + WEEK * 0.66
    await renewer.step()
    assert not door.keys
    clock.now = BEGAN + WEEK * 0.67
    assert await renewer.step() <= 60
    after = folder.read()
    assert after.certificate.serial_number != before.certificate.serial_number
    assert after.key.private_numbers() != before.key.private_numbers()
    assert folder.latest() == after, "the next connection shows the new one"
    assert not (folder.folder / NEXT_KEY).exists()
    assert {file.stat().st_mode & 0o077 for file in folder.folder.iterdir()} == {0}


async def test_an_ended_certificate_is_renewed_as_soon_as_the_hub_is_back(folder: CertificateFolder) -> None:
    clock = Clock()
    door = Door(clock)
    door.reason = "unreachable"
    renewer = Renewer(folder, clock, door)
    clock.now = BEGAN + WEEK * 3
    for _ in range(3):
        await renewer.step()
    assert renewer.trouble == "ended"
    assert len({key.public_numbers() for key in door.keys}) == 1, "another key would look like a second machine"
    door.reason = ""
    await renewer.step()
    assert not renewer.trouble
    assert folder.read().certificate.public_key() == door.keys[0]


@pytest.mark.parametrize(
    "reason",
    [
        Refusal.CERTIFICATE_UNKNOWN,
        Refusal.CERTIFICATE_REVOKED,
        Refusal.RENEWED_ELSEWHERE,
        Refusal.CERTIFICATE_TOO_OLD,
    ],
)
async def test_a_refusal_that_only_a_person_can_mend_is_told(folder: CertificateFolder, reason: Refusal) -> None:
    clock = Clock()
    door = Door(clock)
    door.reason = reason
    renewer, before = Renewer(folder, clock, door), folder.read()
    clock.now = BEGAN + WEEK * 0.7
    await renewer.step()
    assert renewer.trouble == reason
    assert folder.read() == before


async def test_a_node_without_a_clock_asks_the_door_after_minutes_without_the_hubs_time(
    folder: CertificateFolder,
) -> None:
    hubs = Clock()
    hubs.now = BEGAN + WEEK * 2
    steady, door, before = Steady(), Door(hubs), folder.read()
    mine = NodeClock(1, wall=lambda: NS, steady=lambda: steady.now_ns)
    renewer = Renewer(folder, mine, door, lambda: steady.now_ns)
    assert mine.now_ns() < BEGAN.timestamp() * NS, "by this clock its certificate, which has ended, is not due"
    await renewer.step()
    steady.now_ns += round(UNSURE_FOR_S - 1) * NS
    await renewer.step()
    assert not door.keys, "the hub's time may still come with the first connection"
    steady.now_ns += NS
    door.reason = "unreachable"
    for _ in range(2):
        await renewer.step()
    assert len(door.keys) == 2
    door.reason = ""
    await renewer.step()
    after = folder.read().certificate
    assert after != before.certificate
    assert after.not_valid_after_utc > hubs.now
    await renewer.step()
    assert len(door.keys) == 3


async def test_a_node_whose_hub_tells_no_time_does_not_renew_at_every_look(folder: CertificateFolder) -> None:
    clock, steady = Clock(), Steady()
    clock.offset_ms, door = None, Door(clock)
    renewer = Renewer(folder, clock, door, lambda: steady.now_ns)
    for _ in range(10):
        steady.now_ns += 60 * NS
        await renewer.step()
    assert len(door.keys) == 2


async def test_what_was_refused_is_forgotten_once_a_person_enrolled_the_node_anew(folder: CertificateFolder) -> None:
    clock = Clock()
    door = Door(clock)
    door.reason = Refusal.CERTIFICATE_REVOKED
    renewer = Renewer(folder, clock, door)
    clock.now = BEGAN + WEEK * 0.7
    await renewer.step()
    assert renewer.trouble == Refusal.CERTIFICATE_REVOKED
    key = device_ca.new_key()
    certificate = device_ca.for_node(AUTHORITY, key.public_key(), CLINIC, clock.now, WEEK)
    folder.take(key, certificate, [AUTHORITY.certificate.public_bytes(Encoding.DER)])
    await renewer.step()
    assert not renewer.trouble


async def test_an_answer_for_another_node_or_key_is_not_put_in_place(folder: CertificateFolder) -> None:
    clock = Clock()
    door, before = Door(clock), folder.read()
    door.names = HOME
    clock.now = BEGAN + WEEK
    await Renewer(folder, clock, door).step()
    assert folder.read() == before


async def test_the_answer_tells_the_node_the_time(folder: CertificateFolder) -> None:
    clock = Clock()
    clock.now = BEGAN + WEEK
    before_ns = boottime_ns()
    await asyncio.to_thread(Renewer(folder, clock, Door(clock)).renew)
    assert boottime_ns() > before_ns
    assert len(clock.heard_ns) == 1
    assert abs(clock.heard_ns[0] - clock.now_ns()) < NS


async def test_short_lives_are_looked_at_often(tmp_path: Path) -> None:
    found, key = CertificateFolder(tmp_path), device_ca.new_key()
    certificate = device_ca.for_node(AUTHORITY, key.public_key(), CLINIC, BEGAN, timedelta(minutes=1))
    found.take(key, certificate, [AUTHORITY.certificate.public_bytes(Encoding.DER)])
    assert await Renewer(found, Clock(), Door(Clock())).step() <= 6


def test_files_that_vanish_while_the_node_runs_leave_it_what_it_had(folder: CertificateFolder) -> None:
    before = folder.latest()
    (folder.folder / IDENTITY).unlink()
    assert folder.latest() == before
    with pytest.raises(ConfigRefused, match="edge-node enrol"):
        CertificateFolder(folder.folder).latest()


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_damaged_file_is_refused_by_name(folder: CertificateFolder, content: bytes) -> None:
    (folder.folder / IDENTITY).write_bytes(content)
    with pytest.raises(ConfigRefused, match=r"uplink\.certificates"):
        folder.read()


def test_a_certificate_and_a_key_that_do_not_belong_together_are_refused(folder: CertificateFolder) -> None:
    pem = (folder.folder / IDENTITY).read_bytes()
    other = CertificateFolder(folder.folder / "other")
    other.next_key()
    key_pem = (other.folder / NEXT_KEY).read_bytes()
    (folder.folder / IDENTITY).write_bytes(key_pem + pem[pem.index(b"-----BEGIN CERTIFICATE") :])
    with pytest.raises(ConfigRefused, match="not the certificate's"):
        folder.read()
