"""From a token to a certificate over the real door, with honest nodes, thieves, impostors and wrong clocks."""

import asyncio
import contextlib
import os
import shutil
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.enrolment import RENEWAL, Refusal, Token, sign
from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.v1 import enrolment_pb2, enrolment_pb2_grpc
from telemed.whole_files import write_whole

from cloud_hub import node_access
from cloud_hub.access import device_ca
from cloud_hub.access.ca_folder import AUTHORITY, DENIED
from cloud_hub.rpc.doorway import PER_SOURCE_BURST
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from edge_node.errors import EnrolmentFailed, HubUnproved
from edge_node.uplink import certificates
from edge_node.uplink.certificates import CertificateFolder, private_pem, request_for
from edge_node.uplink.enrolment.command import enrol
from edge_node.uplink.enrolment.door import Door, pinned
from tests.fakes.certificates import CertifiedHub, certified_hub, hub_config
from tests.region.region import ROOT

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
pytestmark = pytest.mark.anyio


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[CertifiedHub]:
    config = hub_config(tmp_path / "hub")
    (tmp_path / "hub").mkdir()
    care = Database(config.store.care_url, CARE, "care")
    await asyncio.to_thread(care.migrate)
    async with certified_hub(config, care) as found:
        yield found
    await asyncio.to_thread(care.close)


async def test_a_node_enrols_by_token_and_trusts_the_hub_that_made_it(hub: CertifiedHub, tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path / "node")
    told = await asyncio.to_thread(enrol, folder, await hub.invite(CLINIC))
    held = folder.read()
    assert held.address == CLINIC
    assert held.trust == (hub.access.folder.authority.certificate,)
    assert told[0].startswith("enrolled as baoshan/baoshan-clinic/edge-clinic")
    assert len(told) == 1, "a right clock is not worth a word"
    assert hub.access.users.by_name[CLINIC.node].node == CLINIC, "the brokers know it at once"


async def test_a_token_is_worth_nothing_to_a_second_machine_and_the_operator_is_told(
    hub: CertifiedHub, tmp_path: Path
) -> None:
    noted: list[tuple[str, str]] = []
    hub.access.note = lambda node, code: noted.append((node.node, code))
    token = await hub.invite(CLINIC)
    await asyncio.to_thread(enrol, CertificateFolder(tmp_path / "node"), token)
    with pytest.raises(EnrolmentFailed) as refused:
        await asyncio.to_thread(enrol, CertificateFolder(tmp_path / "thief"), token)
    assert refused.value.reason == Refusal.TOKEN_USED
    assert token.secret not in str(refused.value)
    assert noted == [("edge-clinic", Code.CONNECT_REFUSED)]


@pytest.mark.parametrize("steps", [0, 1, 2])
async def test_an_answer_that_could_not_be_stored_is_asked_for_again_with_the_same_token(
    hub: CertifiedHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    folder, token, left = CertificateFolder(tmp_path / "node"), await hub.invite(CLINIC), [steps]
    folder.key_for(token.secret)

    def full(*given: Any) -> None:
        if not left[0]:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        write_whole(*given)

    with monkeypatch.context() as patched:
        patched.setattr(certificates, "write_whole", full)
        with pytest.raises(EnrolmentFailed, match="No space left"):
            await asyncio.to_thread(enrol, folder, token)
    await asyncio.to_thread(enrol, folder, token)
    assert folder.read().address == CLINIC
    assert folder.door() == (token.host, token.port)


async def test_an_impostor_at_the_hubs_address_is_sent_nothing(hub: CertifiedHub, tmp_path: Path) -> None:
    token = await hub.invite(CLINIC)
    other = device_ca.new_authority("baoshan").certificate.fingerprint(hashes.SHA256())
    with pytest.raises(HubUnproved, match="nothing was sent"):
        await asyncio.to_thread(enrol, CertificateFolder(tmp_path / "node"), replace(token, ca_sha256=other))
    await asyncio.to_thread(enrol, CertificateFolder(tmp_path / "node"), token)


async def test_a_server_that_shows_the_pinned_authority_without_its_key_gets_no_token(
    hub: CertifiedHub, tmp_path: Path
) -> None:
    """The authority's certificate is public: whoever shows it beside a certificate of their own is not yet the hub."""
    token, came = await hub.invite(CLINIC), list[bytes]()
    mine, key = device_ca.new_authority("baoshan"), device_ca.new_key()
    leaf = device_ca.for_listeners(mine, key.public_key(), "baoshan", ["127.0.0.1"])
    shown = leaf.public_bytes(Encoding.PEM) + hub.access.folder.pem(AUTHORITY)
    (tmp_path / "shown.pem").write_bytes(shown)
    (tmp_path / "shown.key").write_bytes(private_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "shown.pem", tmp_path / "shown.key")
    context.set_alpn_protocols(["h2"])

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            came.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(EnrolmentFailed):
            await asyncio.to_thread(enrol, CertificateFolder(tmp_path / "node"), replace(token, port=port))
    assert not any(token.secret.encode() in each for each in came)


async def test_nobody_answering_is_said_in_plain_words(hub: CertifiedHub, tmp_path: Path) -> None:
    token = replace(await hub.invite(CLINIC), port=1)
    with pytest.raises(EnrolmentFailed, match="does not answer as a hub"):
        await asyncio.to_thread(enrol, CertificateFolder(tmp_path / "node"), token)


async def test_renewal_goes_through_the_door_and_a_revoked_node_is_refused_there(
    hub: CertifiedHub, tmp_path: Path
) -> None:
    folder = CertificateFolder(tmp_path / "node")
    await asyncio.to_thread(enrol, folder, await hub.invite(CLINIC))
    held, key = folder.read(), device_ca.new_key()
    host, port = folder.door()
    door = Door(host, port, held.trust_pem)
    der, request = held.certificate.public_bytes(Encoding.DER), request_for(key, "edge-clinic")
    issued = await asyncio.to_thread(door.renew, der, request, sign(held.key, RENEWAL, request))
    renewed = x509.load_der_x509_certificate(issued.certificate_der)
    assert renewed.public_key() == key.public_key()
    await hub.revoke(CLINIC)
    assert all(hub.access.deny.is_denied(device_ca.serial_of(one)) for one in (held.certificate, renewed))
    with pytest.raises(EnrolmentFailed, match="revoked") as refused:
        await asyncio.to_thread(door.renew, der, request, sign(held.key, RENEWAL, request))
    assert refused.value.reason == Refusal.CERTIFICATE_REVOKED


async def test_a_hub_that_starts_again_has_no_moment_without_its_list(hub: CertifiedHub, tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path / "node")
    await asyncio.to_thread(enrol, folder, await hub.invite(CLINIC))
    await hub.revoke(CLINIC)
    serial, denied = device_ca.serial_of(folder.read().certificate), hub.access.folder.path(DENIED)
    again = node_access.make(hub.config, hub.care)
    assert denied.read_text().split() == [serial], "what the broker reads must not be empty meanwhile"
    await again.load()
    assert again.deny.is_denied(serial), "before any listener is open"
    assert denied.read_text().split() == [serial]


async def test_guessing_tokens_is_slowed_down(hub: CertifiedHub, tmp_path: Path) -> None:
    token = await hub.invite(CLINIC)
    door = await asyncio.to_thread(pinned, token)
    request = request_for(device_ca.new_key(), "edge-clinic")
    credentials = grpc.ssl_channel_credentials(door.trust_pem)
    codes: list[grpc.StatusCode] = []
    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{token.port}", credentials, options=options) as channel:
        stub = enrolment_pb2_grpc.EnrolmentStub(channel)
        for number in range(int(PER_SOURCE_BURST) + 5):
            asked = enrolment_pb2.EnrolRequest(secret=f"guess-{number}", request_der=request)
            codes.append(await stub.Enrol(asked).code())
    assert codes[0] is grpc.StatusCode.PERMISSION_DENIED
    assert codes[-1] is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_nonsense_and_far_too_much_are_refused(hub: CertifiedHub) -> None:
    token = await hub.invite(CLINIC)
    door = await asyncio.to_thread(pinned, token)
    for request in (b"", b"garbage"):
        with pytest.raises(EnrolmentFailed) as refused:
            await asyncio.to_thread(door.enrol, token.secret, request)
        assert refused.value.reason == Refusal.REQUEST_BAD
    with pytest.raises(EnrolmentFailed):
        await asyncio.to_thread(door.enrol, token.secret, bytes(64 * 1024))
    assert (await asyncio.to_thread(door.enrol, token.secret, request_for(device_ca.new_key(), "x"))).certificate_der


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
@pytest.mark.parametrize("clock", ["1970-01-01 00:10:00", "2099-06-01 00:00:00"])
async def test_a_machine_whose_clock_is_impossible_enrols_all_the_same(
    hub: CertifiedHub, tmp_path: Path, clock: str
) -> None:
    (tmp_path / "edge.toml").write_text(
        '[node]\nregion = "baoshan"\nsite = "baoshan-clinic"\nnode = "edge-clinic"\nname_zh = "站"\nname_en = "Site"\n'
        '[buffer]\nfolder = "buffer"\n[uplink]\ncertificates = "node"\n[[beds]]\nbed = "B01"\nlabel = "01"\n'
    )
    token: Token = await hub.invite(CLINIC)
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
    assert b"this machine's clock is" in printed
    assert token.secret.encode() not in printed
    assert CertificateFolder(tmp_path / "node").read().address == CLINIC
