"""What a node shows of itself instead of a secret: its key and certificate, and the authorities that it trusts.

One file has key and certificate together, so that a renewal replaces both at once; every connection reads it anew.
"""

import hashlib
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from telemed.datagram import BODY_LIMIT_BYTES
from telemed.enrolment import (
    DATAGRAM_HUB,
    DATAGRAM_NODE,
    hub_urn,
    is_issued_by,
    is_signed,
    node_of,
    pack_proof,
    sign,
    unpack_proof,
    urns_of,
)
from telemed.topics import NodeAddress
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, write_whole

from edge_node.errors import ConfigRefused

ENROLLING = ".enrol.key"
IDENTITY, NEXT_KEY, TRUST, DOOR = "identity.pem", "next.key", "hub-ca.pem", "door.json"
MODEL_ROOT = "model-root.json"
"""Mode of everything here."""
_HASH = hashes.SHA256()


@dataclass(frozen=True, slots=True)
class Identity:
    """Key and certificate of a node, and whom it trusts."""

    address: NodeAddress
    certificate: x509.Certificate
    trust: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @property
    def key_pem(self) -> bytes:
        """The private key as gRPC wants it."""
        return private_pem(self.key)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as gRPC wants it."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def trust_pem(self) -> bytes:
        """The trusted authorities as gRPC wants them."""
        return b"".join(each.public_bytes(Encoding.PEM) for each in self.trust)


class CertificateFolder:
    """Where a node keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen_ns = 0
        self._held: Identity | None = None

    def latest(self) -> Identity:
        """Return what is there; what was there last where that cannot be read now.

        Raises:
            ConfigRefused: nothing could ever be read.
        """
        try:
            seen_ns = (self.folder / IDENTITY).stat().st_mtime_ns
            if self._held is None or seen_ns != self._seen_ns:
                self._held, self._seen_ns = self.read(), seen_ns
        except (OSError, ConfigRefused):
            if self._held is None:
                return self.read()
        return self._held

    def read(self) -> Identity:
        """Return what is there.

        Raises:
            ConfigRefused: the node was not enrolled, or a file cannot be used.
        """
        try:
            pem = (self.folder / IDENTITY).read_bytes()
            trust = x509.load_pem_x509_certificates((self.folder / TRUST).read_bytes())
            certificate, key = x509.load_pem_x509_certificate(pem), load_pem_private_key(pem, None)
        except FileNotFoundError as error:
            raise ConfigRefused(
                f"uplink.certificates: {self.folder} has no certificate: run `edge-node enrol` with a token of the hub"
            ) from error
        except OSError as error:
            raise ConfigRefused(f"uplink.certificates: {error.filename}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigRefused(f"uplink.certificates: {self.folder}: key or certificate cannot be read") from error
        address = node_of(certificate)
        if address is None or not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigRefused(f"uplink.certificates: {self.folder}: is no certificate of a node")
        if certificate.public_key() != key.public_key():
            raise ConfigRefused(f"uplink.certificates: {self.folder}: the key is not the certificate's")
        return Identity(address, certificate, tuple(trust), key)

    def next_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the key of the next certificate: made once, and the same until that certificate is there.

        The hub takes another key for another machine.

        Raises:
            OSError: it cannot be stored.
        """
        return self._key_in(NEXT_KEY)

    def key_for(self, secret: str) -> ec.EllipticCurvePrivateKey:
        """Return the key with which a token is used: the same for each try, and of no earlier time.

        A key that lay here before may be a thief's by now, who has the disk.

        Raises:
            OSError: it cannot be stored.
        """
        return self._key_in(f"{hashlib.sha256(secret.encode()).hexdigest()[:16]}{ENROLLING}")

    def _key_in(self, name: str) -> ec.EllipticCurvePrivateKey:
        file = self.folder / name
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if file.exists():
            key = load_pem_private_key(file.read_bytes(), None)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                return key
        made = ec.generate_private_key(ec.SECP256R1())
        write_whole(file, private_pem(made), OWNER_ONLY)
        return made

    def take(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, trust: Sequence[bytes]) -> None:
        """Put a certificate in place with its key, and the authorities (DER) beside it.

        Raises:
            OSError: it cannot be stored; what was there stays.
            ValueError: an authority cannot be read.
        """
        authorities = [x509.load_der_x509_certificate(each) for each in trust]
        write_whole(self.folder / TRUST, b"".join(each.public_bytes(Encoding.PEM) for each in authorities), OWNER_ONLY)
        write_whole(self.folder / IDENTITY, private_pem(key) + certificate.public_bytes(Encoding.PEM), OWNER_ONLY)
        for left in (self.folder / NEXT_KEY, *self.folder.glob(f"*{ENROLLING}")):
            left.unlink(missing_ok=True)

    def pin_models(self, root: bytes) -> bool:
        """Store the root of trust of model bundles that came with the first certificate; return whether there is one.

        A hub that gives none is believed no bundles: what an earlier hub gave is deleted.

        Raises:
            OSError: it cannot be stored, or deleted.
        """
        if root:
            write_whole(self.folder / MODEL_ROOT, root, OWNER_ONLY)
        else:
            (self.folder / MODEL_ROOT).unlink(missing_ok=True)
        return bool(root)

    def note_door(self, host: str, port: int) -> None:
        """Store where certificates are renewed.

        Raises:
            OSError: it cannot be stored.
        """
        write_whole(self.folder / DOOR, json.dumps({"host": host, "port": port}).encode(), OWNER_ONLY)

    def door(self) -> tuple[str, int]:
        """Return where certificates are renewed.

        Raises:
            ConfigRefused: it was never stored, or cannot be read.
        """
        try:
            stored = json.loads((self.folder / DOOR).read_bytes())
            return str(stored["host"]), int(stored["port"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigRefused(f"uplink.certificates: {self.folder / DOOR} cannot be used: enrol anew") from error

    def tls(self) -> ssl.SSLContext:
        """Return the context of a connection to the hub's broker.

        Raises:
            ConfigRefused: as `read`.
        """
        self.read()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self.folder / TRUST)
        context.load_cert_chain(self.folder / IDENTITY)
        return context


@dataclass(frozen=True, slots=True)
class CertificateCredentials:
    """How a node proves itself on a session of datagrams by its certificate."""

    folder: CertificateFolder

    def prove(self, binding: bytes) -> bytes:
        """Return the proof over the channel binding."""
        held = self.folder.latest()
        signature = sign(held.key, DATAGRAM_NODE, binding)
        proof = pack_proof(signature, held.certificate.public_bytes(Encoding.DER))
        # As long as a datagram may be: the hub answers with its own certificate, and never with more than it was sent.
        return proof.ljust(BODY_LIMIT_BYTES, b"\0")

    def is_hub(self, answer: bytes, binding: bytes) -> bool:
        """Return whether the answer is the hub's: of a trusted authority, for this region, over this channel."""
        held, unpacked = self.folder.latest(), unpack_proof(answer)
        if unpacked is None:
            return False
        signature, certificate = unpacked
        return (
            is_issued_by(certificate, held.trust)
            and is_signed(certificate, signature, DATAGRAM_HUB, binding)
            and hub_urn(held.address.region) in urns_of(certificate)
        )


def request_for(key: ec.EllipticCurvePrivateKey, node: str) -> bytes:
    """Return the request for a certificate, DER."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, _HASH)
    return request.public_bytes(Encoding.DER)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as it is stored."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
