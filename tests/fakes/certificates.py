"""A hub's authority, nodes with certificates of it, and a hub that serves them, for tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from telemed.enrolment import Token
from telemed.topics import NodeAddress

from cloud_hub import node_access
from cloud_hub.access import device_ca
from cloud_hub.access.device_ca import Authority
from cloud_hub.access.enrolment import Who
from cloud_hub.config import HubConfig
from cloud_hub.node_access import ByCertificates
from cloud_hub.store.engine import Database
from tests.fakes.brokers import running
from tests.fakes.ports import free_port

REGION = "baoshan"
OPERATOR = Who("operator", "operator")
WEEK = timedelta(days=7)


def a_node_certificate(
    address: NodeAddress, authority: Authority | None = None, now: datetime | None = None, life: timedelta = WEEK
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate of a node, and its key."""
    key = device_ca.new_key()
    signer = authority or device_ca.new_authority(address.region)
    return device_ca.for_node(signer, key.public_key(), address, now or datetime.now(UTC), life), key


def malformed(certificate: x509.Certificate) -> dict[str, bytes]:
    """A certificate (DER) with one part altered so that it cannot be read, by what that is."""
    der, point = certificate.public_bytes(Encoding.DER), _point(certificate)
    name = der.index(b"urn:yuanzhen:") - 2
    return {
        "unknown kind of key": der.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d0209")),
        "unknown curve": der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030177")),
        "point beside the curve": der.replace(point, point[:-1] + bytes((point[-1] ^ 1,))),
        "two names of the subject": der.replace(bytes.fromhex("0603551d13"), bytes.fromhex("0603551d11")),
        "name of an odd kind": der[:name] + b"\xa5" + der[name + 1 :],
        "no such version": der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107")),
    }


def _point(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def hub_config(folder: Path, node_hours: float = 24 * 7, grace_hours: float = 24 * 30) -> HubConfig:
    """A configuration of a hub with certificates, in a folder."""
    return HubConfig.model_validate(
        {
            "region": REGION,
            "name_zh": "中心",
            "name_en": "Hub",
            "store": {"samples_url": f"sqlite:///{folder}/samples.db", "care_url": f"sqlite:///{folder}/care.db"},
            "broker": {"port": free_port()},
            "pki": {
                "folder": str(folder / "pki"),
                "names": ["127.0.0.1"],
                "door_port": free_port(),
                "node_hours": node_hours,
                "grace_hours": grace_hours,
            },
        }
    )


@dataclass(slots=True)
class CertifiedHub:
    """A hub's door and deny list under test."""

    config: HubConfig
    access: ByCertificates
    care: Database

    async def invite(self, address: NodeAddress) -> Token:
        """What an operator hands to a node."""
        secret = await self.care.write(lambda c: self.access.enrolment.invite(c, OPERATOR, address))
        pki = self.config.pki
        assert pki is not None
        return Token("127.0.0.1", pki.door_port, address, secret, self.access.folder.pinned)

    async def revoke(self, address: NodeAddress) -> None:
        """What an operator does about a stolen node."""
        await self.care.write(lambda c: self.access.enrolment.revoke(c, OPERATOR, address, "stolen"))
        await self.access.look()


@contextlib.asynccontextmanager
async def certified_hub(config: HubConfig, care: Database) -> AsyncIterator[CertifiedHub]:
    """Run a hub's door while the block runs; the care store is migrated."""
    access = node_access.make(config, care)
    assert isinstance(access, ByCertificates)
    async with running(access.run()):
        async with asyncio.timeout(30):
            await access.door.listening.wait()
        yield CertifiedHub(config, access, care)
