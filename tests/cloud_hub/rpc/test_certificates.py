"""Calls by certificate on a real server: who is let in, as whom, and what a revocation does to a call that is open."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CollectorRegistry
from telemed.topics import NodeAddress, Up
from telemed.v1 import talk_pb2, talk_pb2_grpc

from cloud_hub.access import authorities, device_ca
from cloud_hub.access.ca_folder import CaFolder, open_folder
from cloud_hub.access.deny_list import DenyList
from cloud_hub.access.device_ca import Authority
from cloud_hub.config import RpcConfig
from cloud_hub.rpc.doorway import secured
from cloud_hub.rpc.identity import Caller, CertificateIdentity
from cloud_hub.rpc.server import RpcServer
from edge_node.uplink.certificates import private_pem
from tests.fakes.brokers import running
from tests.fakes.certificates import a_node_certificate
from tests.fakes.organisation import Organisation, needs_openssl, whole
from tests.fakes.ports import free_port
from tests.fakes.rpc_hub import CLINIC, HOME, REGION, metadata, sqlite

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)


@dataclass(slots=True)
class Certified:
    """A hub that knows nodes by certificates alone."""

    server: RpcServer
    authority: CaFolder
    deny: DenyList
    came: list[str]

    @contextlib.asynccontextmanager
    async def calls(self, shown: grpc.ChannelCredentials) -> AsyncIterator["talk_pb2_grpc.TalkAsyncStub"]:
        """A channel of somebody."""
        options = [("grpc.enable_http_proxy", 0)]
        address = f"127.0.0.1:{self.server.port}"
        async with grpc.aio.secure_channel(address, shown, options=options) as channel:
            yield talk_pb2_grpc.TalkStub(channel)

    def shows(self, address: NodeAddress, signer: Authority | None = None) -> grpc.ChannelCredentials:
        """What a node shows."""
        signer = signer or self.authority.authority
        certificate, key = a_node_certificate(address, signer)
        return self.shows_this(certificate, key, signer)

    def shows_this(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, signer: Authority | None = None
    ) -> grpc.ChannelCredentials:
        """What the holder of a certificate shows."""
        trust = b"".join(each.public_bytes(Encoding.PEM) for each in self.authority.trusted)
        return grpc.ssl_channel_credentials(
            trust, private_pem(key), whole(certificate, signer or self.authority.authority)
        )


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Certified]:
    async with serving(tmp_path) as found:
        yield found


@contextlib.asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Certified]:
    """Serve a folder's authority, made where it is not there yet, while the block runs."""
    care, deny = sqlite(tmp_path), DenyList()
    authority = open_folder(tmp_path / "pki", REGION, ["127.0.0.1"], "hub")
    identity = CertificateIdentity(REGION, deny, lambda: datetime.now(UTC))
    config = RpcConfig(port=free_port(), folder=tmp_path / "blobs")
    server = RpcServer(config, REGION, care, identity, CollectorRegistry())
    server.credentials = secured(authority)
    deny.on_denied.append(server.cut)
    came: list[str] = []
    server.talks.take = lambda topic, _payload: came.append(topic)
    async with running(server.run()):
        async with asyncio.timeout(30):
            await server.listening.wait()
        yield Certified(server, authority, deny, came)
    await asyncio.to_thread(care.close)


async def test_a_node_speaks_as_its_certificate_says_whatever_it_claims(hub: Certified) -> None:
    async with hub.calls(hub.shows(CLINIC)) as stub:
        call = stub.Hold(metadata=metadata(HOME.node))
        await call.write(talk_pb2.Upward(what=Up.ALARM, payload=b"x"))
        assert isinstance(await call.read(), talk_pb2.Downward)
        call.cancel()
    assert hub.came == [CLINIC.up(Up.ALARM)]


async def test_no_certificate_or_one_of_another_authority_makes_no_connection(hub: Certified) -> None:
    trust = hub.authority.authority.certificate.public_bytes(Encoding.PEM)
    none, foreign = grpc.ssl_channel_credentials(trust), hub.shows(CLINIC, device_ca.new_authority(REGION))
    key = device_ca.new_key()
    ended = device_ca.for_node(
        hub.authority.authority, key.public_key(), CLINIC, NOW - timedelta(days=8), timedelta(days=7)
    )
    for shown in (none, foreign, hub.shows_this(ended, key), grpc.ssl_channel_credentials()):
        async with hub.calls(shown) as stub:
            assert await stub.Hold(metadata=metadata(CLINIC.node)).code() is grpc.StatusCode.UNAVAILABLE


async def test_the_hubs_own_certificate_and_another_regions_node_are_no_nodes_here(hub: Certified) -> None:
    authority, key = hub.authority.authority, device_ca.new_key()
    own = device_ca.for_hub_client(authority, key.public_key(), REGION, "hub")
    elsewhere = NodeAddress("elsewhere", CLINIC.site, CLINIC.node)
    for shown in (hub.shows_this(own, key), hub.shows(elsewhere)):
        async with hub.calls(shown) as stub:
            assert await stub.Hold().code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_revocation_ends_the_call_that_is_open_and_refuses_the_next(hub: Certified) -> None:
    certificate, key = a_node_certificate(CLINIC, hub.authority.authority)
    async with hub.calls(hub.shows_this(certificate, key)) as stub, hub.calls(hub.shows(HOME)) as other:
        call, of_other = stub.Hold(), other.Hold()
        for each in (call, of_other):
            await each.write(talk_pb2.Upward(what=Up.ALARM, payload=b"x"))
            assert isinstance(await each.read(), talk_pb2.Downward)
        hub.deny.replace({device_ca.serial_of(certificate): CLINIC})
        async with asyncio.timeout(5):
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
            # The client may not have heard yet that its connection is shut, and put the first tries on that.
            while (code := await stub.Hold().code()) is grpc.StatusCode.UNAVAILABLE:
                pass
            assert code is grpc.StatusCode.UNAUTHENTICATED
        assert not of_other.done()
        of_other.cancel()


async def test_a_connection_that_outlives_its_certificate_is_worth_nothing() -> None:
    certificate, _ = a_node_certificate(CLINIC, now=NOW)
    shown = Caller({}, {"x509_pem_cert": [certificate.public_bytes(Encoding.PEM)]})
    at = [NOW]
    identity = CertificateIdentity(REGION, DenyList(), lambda: at[0])
    assert identity.node_of(shown) == CLINIC
    at[0] += timedelta(days=7, seconds=1)
    assert identity.node_of(shown) is None
    assert identity.node_of(Caller(dict(metadata(CLINIC.node)), {})) is None
    assert identity.node_of(Caller({}, {"x509_pem_cert": [b"garbage"]})) is None


@needs_openssl
async def test_below_an_organisation_our_nodes_are_let_in_and_another_department_s_are_not(tmp_path: Path) -> None:
    hospital = Organisation(tmp_path / "hospital")
    hospital.join(tmp_path / "pki")
    async with serving(tmp_path) as hub:
        assert hub.authority.authority.chain, "it does stand below the hospital's"
        async with hub.calls(hub.shows(CLINIC, hospital.another(REGION))) as stub:
            assert await stub.Hold().code() is grpc.StatusCode.UNAVAILABLE
        async with hub.calls(hub.shows(CLINIC)) as stub:
            await _is_let_in(stub)


async def test_nodes_of_an_earlier_authority_and_of_its_successor_are_let_in(tmp_path: Path) -> None:
    before = open_folder(tmp_path / "pki", REGION, ["127.0.0.1"], "hub").authority
    authorities.add_next(tmp_path / "pki", REGION)
    async with serving(tmp_path) as hub:
        assert hub.authority.authority.certificate != before.certificate
        for signer in (before, hub.authority.authority):
            async with hub.calls(hub.shows(CLINIC, signer)) as stub:
                await _is_let_in(stub)


async def _is_let_in(stub: "talk_pb2_grpc.TalkAsyncStub") -> None:
    call = stub.Hold()
    await call.write(talk_pb2.Upward(what=Up.ALARM, payload=b"x"))
    assert isinstance(await call.read(), talk_pb2.Downward)
    call.cancel()
