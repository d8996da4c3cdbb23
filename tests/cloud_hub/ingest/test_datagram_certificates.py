"""Datagrams by certificate: a node and the hub prove themselves over one channel, and a revocation ends it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.datagram import DATAGRAM_LIMIT_BYTES, SEALED_BYTES, Message
from telemed.enrolment import DATAGRAM_HUB, DATAGRAM_NODE, pack_proof, sign
from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.wire import encode

from cloud_hub.access import authorities, device_ca
from cloud_hub.access.authorities import Trusted
from cloud_hub.access.ca_folder import CaFolder, open_folder
from cloud_hub.access.deny_list import DenyList
from cloud_hub.access.device_ca import Authority
from cloud_hub.ingest.datagram import DatagramServer
from cloud_hub.ingest.datagram_proof import CertificateProver
from edge_node.uplink.certificates import CertificateCredentials, CertificateFolder
from edge_node.uplink.session import NodeSession, Stage
from tests.fakes.certificates import malformed
from tests.fakes.containers import CLINIC, HOME, alarm
from tests.fakes.datagram_wire import NODE_CONTEXT, PEER, ManualWire
from tests.fakes.organisation import Organisation, needs_openssl

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@dataclass
class CertifiedWire(ManualWire):
    """The wire, to a hub that knows nodes by certificates."""

    def __post_init__(self) -> None:
        self.authority: CaFolder = open_folder(self.folder / "pki", "baoshan", ["hub.example.org"], "hub")
        self.deny = DenyList()
        ManualWire.__post_init__(self)

    def restart_hub(self) -> None:
        """Another process."""
        ManualWire.restart_hub(self)
        transport = self.hub._transport
        self.hub = DatagramServer(
            CertificateProver(self.authority, self.deny, lambda: NOW),
            lambda node, up, container: self.taken.append((node, up, container)),
            note=lambda node, code, _times: self.noted.append((node.node, code)),
            now_s=lambda: self.now_s,
        )
        self.hub._transport = transport
        self.deny.on_denied.append(self.hub.cut)

    def node(
        self,
        address: NodeAddress = CLINIC,
        signer: Authority | None = None,
        since: datetime = NOW,
        trusts: Authority | None = None,
    ) -> CertificateFolder:
        """What a node was given."""
        key, mine = device_ca.new_key(), self.authority.authority
        certificate = device_ca.for_node(signer or mine, key.public_key(), address, since, timedelta(days=7))
        folder = CertificateFolder(self.folder / f"{address.node}-{certificate.serial_number}")
        folder.folder.mkdir()
        trust = (trusts.certificate,) if trusts else self.authority.trusted
        folder.take(key, certificate, [each.public_bytes(Encoding.DER) for each in trust])
        return folder

    def begin(self, folder: CertificateFolder) -> NodeSession:
        """Begin a session of a node, and wait until it is judged."""
        session = NodeSession(NODE_CONTEXT, CertificateCredentials(folder), self.now_s)
        self._nodes[PEER] = session
        self.until(lambda: session.stage in (Stage.UP, Stage.REFUSED))
        return session


@pytest.fixture
def wire(tmp_path: Path) -> CertifiedWire:
    return CertifiedWire(tmp_path)


def test_a_node_proves_itself_by_its_certificate_and_its_alarms_are_taken(wire: CertifiedWire) -> None:
    session = wire.begin(wire.node())
    assert session.stage is Stage.UP
    container = encode([alarm(1)])
    wire.say(session, Message.ALARMS, container)
    assert [(node, taken) for node, _, taken in wire.taken] == [(CLINIC, container)]


def test_it_does_so_in_one_datagram_each_way_where_half_of_them_are_lost(tmp_path: Path) -> None:
    wire = CertifiedWire(tmp_path, loss=0.5)
    assert wire.begin(wire.node()).stage is Stage.UP
    longest = max(len(answer) for answer, _ in wire.answers)
    assert longest <= DATAGRAM_LIMIT_BYTES


def test_another_authority_an_ended_certificate_and_the_hubs_own_are_refused(wire: CertifiedWire) -> None:
    assert wire.begin(wire.node(signer=device_ca.new_authority("baoshan"))).stage is Stage.REFUSED
    assert wire.begin(wire.node(since=NOW - timedelta(days=8))).stage is Stage.REFUSED
    assert wire.begin(wire.node(NodeAddress("elsewhere", "site", "edge-clinic"))).stage is Stage.REFUSED
    assert not wire.noted, "who does not hold the key of a good certificate blames nobody"


def test_a_certificate_that_was_seen_on_the_way_proves_nothing_without_its_key(wire: CertifiedWire) -> None:
    mine, theirs = wire.node(HOME), wire.node(CLINIC)
    seen = theirs.read().certificate
    stolen = CertificateFolder(wire.folder / "stolen")
    stolen.folder.mkdir()
    trust = [wire.authority.authority.certificate.public_bytes(Encoding.DER)]
    stolen.take(mine.read().key, seen, trust)

    class Unlooked(CertificateFolder):
        def latest(self):  # type: ignore[no-untyped-def]
            held = mine.read()
            return type(held)(CLINIC, seen, held.trust, held.key)

    assert wire.begin(Unlooked(stolen.folder)).stage is Stage.REFUSED
    assert not wire.noted


def test_a_revocation_ends_the_session_and_the_next_is_refused_and_told(wire: CertifiedWire) -> None:
    folder = wire.node()
    session = wire.begin(folder)
    wire.deny.replace({device_ca.serial_of(folder.read().certificate): CLINIC})
    assert not wire.hub.is_reached_by(CLINIC)
    wire.say(session, Message.ALARMS, encode([alarm(2)]))
    assert not wire.taken
    assert wire.begin(folder).stage is Stage.REFUSED
    assert wire.noted == [("edge-clinic", Code.CONNECT_REFUSED)]


def test_a_session_ends_with_its_certificate(wire: CertifiedWire) -> None:
    session = wire.begin(wire.node(since=NOW - timedelta(days=7, seconds=-2)))
    assert session.stage is Stage.UP
    wire.hub.sweep()
    assert wire.hub.is_reached_by(CLINIC)
    wire.now_s += 3
    wire.hub.sweep()
    assert not wire.hub.is_reached_by(CLINIC)
    wire.say(session, Message.ALARMS, encode([alarm(2)]))
    assert not wire.taken


def test_a_malformed_certificate_is_refused_and_nothing_comes_out_of_it(wire: CertifiedWire) -> None:
    held, prover = wire.node().read(), CertificateProver(wire.authority, wire.deny, lambda: NOW)
    signature = sign(held.key, DATAGRAM_NODE, bytes(64))
    assert prover.judge(pack_proof(signature, held.certificate.public_bytes(Encoding.DER)), bytes(64)).node == CLINIC
    for part, der in malformed(held.certificate).items():
        assert prover.judge(pack_proof(signature, der), bytes(64)).node is None, part


def test_a_hub_that_shows_a_malformed_certificate_is_not_believed(wire: CertifiedWire) -> None:
    shown = wire.authority.listeners
    mine = CertificateCredentials(wire.node())
    signature = sign(wire.authority.listeners_key, DATAGRAM_HUB, bytes(64))
    assert mine.is_hub(pack_proof(signature, shown.public_bytes(Encoding.DER)), bytes(64))
    for part, der in malformed(shown).items():
        assert not mine.is_hub(pack_proof(signature, der), bytes(64)), part


def test_a_hub_that_the_node_does_not_trust_is_not_spoken_to(wire: CertifiedWire) -> None:
    folder = wire.node(trusts=device_ca.new_authority("baoshan"))
    assert wire.begin(folder).stage is Stage.REFUSED


def test_the_page_certificate_of_a_home_node_does_not_pass_for_the_hub(wire: CertifiedWire) -> None:
    authority, key = wire.authority.authority, device_ca.new_key()
    page = device_ca.for_pages(authority, key.public_key(), ["hub.example.org"], NOW)
    impostor = CaFolder(wire.authority.folder, "baoshan", (Trusted(1, authority.certificate, authority),), page, key)
    wire.hub._prover = CertificateProver(impostor, wire.deny, lambda: NOW)
    assert wire.begin(wire.node()).stage is Stage.REFUSED


def test_the_longest_proof_fits_a_datagram(wire: CertifiedWire) -> None:
    longest = NodeAddress("baoshan", "s" * 40, "n" * 40)
    proof = CertificateCredentials(wire.node(longest)).prove(bytes(64))
    assert len(proof) + SEALED_BYTES <= DATAGRAM_LIMIT_BYTES


@needs_openssl
def test_below_an_organisation_our_nodes_are_let_in_and_another_department_s_node_or_hub_is_not(
    tmp_path: Path,
) -> None:
    hospital = Organisation(tmp_path / "hospital")
    hospital.join(tmp_path / "hub" / "pki", ("hub.example.org",))
    wire, theirs = CertifiedWire(tmp_path / "hub"), hospital.another("baoshan")
    assert wire.authority.authority.chain, "it does stand below the hospital's"
    assert wire.begin(wire.node()).stage is Stage.UP
    assert wire.begin(wire.node(signer=theirs)).stage is Stage.REFUSED
    key = device_ca.new_key()
    listeners = device_ca.for_listeners(theirs, key.public_key(), "baoshan", ["hub.example.org"])
    impostor = replace(wire.authority, listeners=listeners, listeners_key=key)
    wire.hub._prover = CertificateProver(impostor, wire.deny, lambda: NOW)
    assert wire.begin(wire.node()).stage is Stage.REFUSED


def test_nodes_of_an_earlier_authority_and_of_its_successor_prove_themselves(tmp_path: Path) -> None:
    before = open_folder(tmp_path / "pki", "baoshan", ["hub.example.org"], "hub").authority
    authorities.add_next(tmp_path / "pki", "baoshan")
    wire = CertifiedWire(tmp_path)
    assert wire.authority.authority.certificate != before.certificate
    assert wire.begin(wire.node(signer=before, trusts=before)).stage is Stage.UP, "it was not told yet"
    assert wire.begin(wire.node()).stage is Stage.UP
    authorities.retire(tmp_path / "pki")
    ended = CertifiedWire(tmp_path)
    assert ended.begin(ended.node(signer=before)).stage is Stage.REFUSED
    assert ended.begin(ended.node(trusts=before)).stage is Stage.REFUSED
