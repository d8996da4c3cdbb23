"""A hub's authority over the real door: below an organisation's, and followed by a successor while nodes are away."""

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.enrolment import RENEWAL, Refusal, is_issued_by, sign
from telemed.topics import NodeAddress

from cloud_hub.access import authorities, device_ca
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from edge_node.errors import UNPROVED, EnrolmentFailed, HubUnproved
from edge_node.uplink.certificates import IDENTITY, CertificateFolder, private_pem, request_for
from edge_node.uplink.enrolment.command import enrol
from edge_node.uplink.enrolment.door import Door
from edge_node.uplink.enrolment.renewal import Renewer
from tests.fakes.certificates import CertifiedHub, a_node_certificate, certified_hub, hub_config
from tests.fakes.containers import CLINIC, HOME
from tests.fakes.organisation import Organisation, needs_openssl, whole
from tests.flows.test_revocation import is_let_in, using
from tests.region.certified import CertifiedRegion
from tests.region.region import ROOT, Clinic

pytestmark = pytest.mark.anyio


@dataclass
class Clock:
    """A node's clock, which was told of the hub's."""

    ahead_days: int = 0

    def now_ns(self) -> int:
        return time.time_ns() + self.ahead_days * 24 * 3600 * 10**9

    def hub_offset_ms(self) -> int | None:
        return 0

    def hear(self, ahead_ns: int, error_ns: int, at_ns: int) -> None:
        """Stay as it is."""


class Hub:
    """A hub that can be started again and again."""

    def __init__(self, folder: Path) -> None:
        self.pki = folder / "pki"
        self.config = hub_config(folder)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[CertifiedHub]:
        """Its door, while the block runs."""
        self.pki.parent.mkdir(exist_ok=True)
        care = Database(self.config.store.care_url, CARE, "care")
        await asyncio.to_thread(care.migrate)
        async with certified_hub(self.config, care) as found:
            yield found
        await asyncio.to_thread(care.close)


async def enrolled(hub: CertifiedHub, folder: Path, address: NodeAddress) -> CertificateFolder:
    """A node that has used its token."""
    held = CertificateFolder(folder)
    await asyncio.to_thread(enrol, held, await hub.invite(address))
    return held


async def renew(folder: CertificateFolder) -> Renewer:
    """A node that asked for its next certificate at the door that it knows."""
    renewer = Renewer(folder, Clock())
    await asyncio.to_thread(renewer.renew)
    return renewer


async def seen_by_openssl(root: Path, port: int) -> bytes:
    """What openssl says of a listener where it trusts an organisation's root alone."""
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(root), "-verify_return_error"),
        *("-verify_ip", "127.0.0.1", "-alpn", "h2", "-no-CApath", "-no-CAstore"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said


@needs_openssl
async def test_a_node_of_a_hub_below_an_organisation_knows_that_hub_and_no_other_department_s(tmp_path: Path) -> None:
    hospital = Organisation(tmp_path / "hospital")
    ours, theirs = Hub(tmp_path / "ours"), Hub(tmp_path / "theirs")
    for each in (ours, theirs):
        hospital.join(each.pki)
    async with ours.running() as hub, theirs.running() as other:
        token = await hub.invite(CLINIC)
        assert other.config.pki is not None
        lured = replace(token, port=other.config.pki.door_port)
        with pytest.raises(HubUnproved, match="nothing was sent"):
            await asyncio.to_thread(enrol, CertificateFolder(tmp_path / "node"), lured)
        folder = CertificateFolder(tmp_path / "node")
        await asyncio.to_thread(enrol, folder, token)
        held = folder.read()
        assert held.trust == hub.access.folder.trusted
        assert held.certificate.issuer == hub.access.folder.authority.chain[0].subject
        assert b"Verify return code: 0 (ok)" in await seen_by_openssl(hospital.root, token.port)
        await renew(folder)
        folder.note_door("127.0.0.1", other.config.pki.door_port)
        with pytest.raises(HubUnproved, match="enrol it anew"):
            await renew(folder)


@needs_openssl
async def test_a_certificate_of_another_department_is_not_renewed(tmp_path: Path) -> None:
    hospital, ours = Organisation(tmp_path / "hospital"), Hub(tmp_path / "ours")
    hospital.join(ours.pki)
    certificate, key = a_node_certificate(CLINIC, hospital.another("baoshan"))
    async with ours.running() as hub:
        assert hub.config.pki is not None
        trust = b"".join(each.public_bytes(Encoding.PEM) for each in hub.access.folder.trusted)
        door = Door("127.0.0.1", hub.config.pki.door_port, trust)
        request = request_for(device_ca.new_key(), CLINIC.node)
        shown = certificate.public_bytes(Encoding.DER)
        with pytest.raises(EnrolmentFailed) as refused:
            await asyncio.to_thread(door.renew, shown, request, sign(key, RENEWAL, request))
    assert refused.value.reason == Refusal.CERTIFICATE_UNKNOWN


async def test_nodes_learn_of_a_successor_as_they_renew_and_one_that_was_away_for_too_long_is_told(
    tmp_path: Path,
) -> None:
    hub = Hub(tmp_path / "hub")
    async with hub.running() as first:
        here, away = await enrolled(first, tmp_path / "a", CLINIC), await enrolled(first, tmp_path / "b", HOME)
        old = first.access.folder.authority.certificate
    authorities.add_next(hub.pki, "baoshan")
    async with hub.running() as both:
        new = both.access.folder.authority.certificate
        await renew(here)
        assert is_issued_by(here.read().certificate, [new])
        assert here.read().trust == (new, old)
        late = await enrolled(both, tmp_path / "c", NodeAddress("baoshan", "third-site", "edge-third"))
        assert is_issued_by(late.read().certificate, [new])
    async with hub.running() as still:
        assert still.access.folder.trusted == (new, old), "a node that is away is bound to it"
    authorities.retire(hub.pki)
    async with hub.running() as after:
        assert after.access.folder.trusted == (new,)
        for each in (here, late):
            await renew(each)
            assert each.read().trust == (new,)
        told = Renewer(away, Clock(ahead_days=6))
        await told.step()
        assert told.trouble == UNPROVED
        await asyncio.to_thread(enrol, away, await after.invite(HOME))
        await told.step()
        assert told.trouble == ""


async def test_a_hub_whose_authority_s_key_is_lost_goes_on_with_a_successor(tmp_path: Path) -> None:
    hub = Hub(tmp_path / "hub")
    async with hub.running() as first:
        node = await enrolled(first, tmp_path / "a", CLINIC)
    (hub.pki / "ca.key").unlink()
    authorities.add_next(hub.pki, "baoshan")
    async with hub.running() as second:
        await renew(node)
        assert is_issued_by(node.read().certificate, [second.access.folder.authority.certificate])
        assert len(node.read().trust) == 2


@needs_openssl
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
@pytest.mark.parametrize("clock", ["1970-01-01 00:10:00", "2099-06-01 00:00:00"])
async def test_a_machine_whose_clock_is_impossible_enrols_below_an_organisation_too(tmp_path: Path, clock: str) -> None:
    """What it trusts bears the whole of time, although what the organisation signed does not."""
    hub, hospital = Hub(tmp_path / "hub"), Organisation(tmp_path / "hospital")
    hospital.join(hub.pki)
    (tmp_path / "edge.toml").write_text(
        '[node]\nregion = "baoshan"\nsite = "baoshan-clinic"\nnode = "edge-clinic"\nname_zh = "站"\nname_en = "Site"\n'
        '[buffer]\nfolder = "buffer"\n[uplink]\ncertificates = "node"\n[[beds]]\nbed = "B01"\nlabel = "01"\n'
    )
    async with hub.running() as running:
        token = await running.invite(CLINIC)
        process = await asyncio.create_subprocess_exec(
            *("faketime", "-f", clock, sys.executable, "-m", "edge_node", "enrol", "--config", "edge.toml", "-"),
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate(token.text().encode() + b"\n")
        assert process.returncode == 0, printed
        assert CertificateFolder(tmp_path / "node").read().trust == running.access.folder.trusted


@needs_openssl
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_hub_comes_below_an_organisation_while_its_node_s_three_connections_go_on(tmp_path: Path) -> None:
    """Real processes: the hub's own authority, then the hospital's below it, then that alone."""
    hospital, clinic = Organisation(tmp_path / "hospital"), Clinic(beds=("B01",))
    region = CertifiedRegion(tmp_path, (clinic,))
    await asyncio.to_thread(region.prepare)
    try:
        await asyncio.to_thread(region.start_hub)
        await asyncio.to_thread(region.enrol, clinic)
        folder, copy = CertificateFolder(tmp_path / f"{clinic.node}-pki"), CertificateFolder(tmp_path / "copy")
        shutil.copytree(folder.folder, copy.folder)
        request = await asyncio.to_thread(authority, region, "request")
        (tmp_path / "chain.pem").write_bytes(hospital.sign(request.encode(), subject="/O=Hospital/CN=Telemedicine"))
        assert "authority 2 issues" in await asyncio.to_thread(authority, region, "install", "chain.pem")
        await again(region)
        async with using(region, folder):
            await renew(folder)
        assert len(folder.read().trust) == 2
        assert "CN=Telemedicine" in folder.read().certificate.issuer.rfc4514_string()
        async with using(region, folder), using(region, copy):
            assert await is_let_in(region, copy), "the hub trusts both"
        assert "trusted no more: authority 1" in await asyncio.to_thread(authority, region, "retire", "--now")
        await again(region)
        async with using(region, folder):
            assert not await is_let_in(region, copy)
        for port in ("https", "door"):
            assert b"Verify return code: 0 (ok)" in await seen_by_openssl(hospital.root, region.ports[port])
        theirs = stranger(tmp_path / "theirs", folder, hospital)
        assert not await is_let_in(region, theirs)
    except BaseException:
        print(region.logs())
        raise
    finally:
        await asyncio.to_thread(region.stop)


def authority(region: CertifiedRegion, *words: str) -> str:
    """What an operator does about the hub's authority."""
    return region.run("cloud_hub", "authority", "--config", "hub.toml", *words)


async def again(region: CertifiedRegion) -> None:
    """Start the hub again."""
    await asyncio.to_thread(region.stop)
    await asyncio.to_thread(region.start_hub)


def stranger(folder: Path, ours: CertificateFolder, hospital: Organisation) -> CertificateFolder:
    """A node of another department's hub, that bears the name of ours and trusts our hub."""
    signer = hospital.another("baoshan")
    certificate, key = a_node_certificate(ours.read().address, signer)
    found = CertificateFolder(folder)
    folder.mkdir()
    found.take(key, certificate, [each.public_bytes(Encoding.DER) for each in ours.read().trust])
    (folder / IDENTITY).write_bytes(private_pem(key) + whole(certificate, signer))
    return found
