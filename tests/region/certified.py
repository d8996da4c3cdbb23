"""A region whose nodes have certificates instead of secrets: enrolled by token, as an operator and a clinic do it."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from telemed.topics import NodeAddress

from cloud_hub.access import device_ca
from cloud_hub.access.ca_folder import AUTHORITY, AUTHORITY_KEY
from cloud_hub.access.device_ca import Authority
from edge_node.uplink.certificates import private_pem
from tests.fakes.ports import free_port
from tests.region.region import REGION, Clinic, Region


@dataclass(slots=True)
class CertifiedRegion(Region):
    """Hub, broker and edges as processes, on 127.0.0.1, with TLS everywhere."""

    node_hours: float = 24 * 7
    grace_hours: float = 24 * 30

    def prepare(self) -> None:
        """Write configurations and admissions; nobody is enrolled yet."""
        # Called by name: a slotted dataclass is another class than the one that `super` without arguments means.
        Region.prepare(self)
        self.ports |= {"door": free_port(), "https": free_port()}
        hub = self.folder / "hub.toml"
        hub.write_text(
            hub.read_text().replace('secrets_file = "hub/broker-secrets.json"\n', "")
            + f'[pki]\nfolder = "hub/pki"\nnames = ["127.0.0.1"]\ndoor_port = {self.ports["door"]}\n'
            f"node_hours = {self.node_hours}\ngrace_hours = {self.grace_hours}\n"
            f'[web.https]\nhost = "127.0.0.1"\nport = {self.ports["https"]}\n'
        )
        (self.folder / "hub" / "broker-secrets.json").unlink()
        for clinic in self.clinics:
            file = self.folder / f"{clinic.node}.toml"
            secret = f'secret_file = "{clinic.node}-secret"'
            text = file.read_text().replace(secret, f'certificates = "{clinic.node}-pki"')
            self.ports[f"{clinic.node}.https"] = free_port()
            https = f'[bedside.https]\nhost = "127.0.0.1"\nport = {self.ports[f"{clinic.node}.https"]}\n'
            file.write_text(text + f'{https}certificate_file = "{clinic.node}.pem"\nkey_file = "{clinic.node}.key"\n')
            (self.folder / f"{clinic.node}-secret").unlink()

    def start(self) -> None:
        """Start the hub, enrol every edge, start it, and wait until all are ready."""
        self.start_hub()
        for clinic in self.clinics:
            self.enrol(clinic)
            self.start_edge(clinic.node)
        for clinic in self.clinics:
            self.until_ready(self.page_url(clinic.node))

    def token(self, clinic: Clinic) -> str:
        """What the operator hands out for a node."""
        printed = self.run("cloud_hub", "nodes", "--config", "hub.toml", "invite", clinic.site, clinic.node)
        return printed.splitlines()[-1]

    def enrol(self, clinic: Clinic) -> str:
        """Have a node fetch its first certificate; return what it printed.  Its page gets one of the same authority."""
        authority, key = self.authority(), device_ca.new_key()
        page = device_ca.for_pages(authority, key.public_key(), ["127.0.0.1"], datetime.now(UTC))
        (self.folder / f"{clinic.node}.pem").write_bytes(page.public_bytes(Encoding.PEM))
        (self.folder / f"{clinic.node}.key").write_bytes(private_pem(key))
        return self.run("edge_node", "enrol", "--config", f"{clinic.node}.toml", self.token(clinic))

    def authority(self) -> Authority:
        """The hub's own authority, once the hub was started."""
        folder = self.folder / "hub" / "pki"
        key = load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return Authority(x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes()), key)

    def trusting(self) -> ssl.SSLContext:
        """The TLS of a browser that trusts the hub's authority."""
        return ssl.create_default_context(cafile=str(self.folder / "hub" / "pki" / "ca.pem"))

    def revoke(self, clinic: Clinic) -> str:
        """Shut a node out."""
        return self.run("cloud_hub", "nodes", "--config", "hub.toml", "revoke", clinic.site, clinic.node)


def address_of(clinic: Clinic) -> NodeAddress:
    """Where a clinic's node stands."""
    return NodeAddress(REGION, clinic.site, clinic.node)
