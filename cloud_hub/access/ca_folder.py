"""The folder of the hub's authority: keys and certificates as files, made at the first start.

Private keys are 0600 from their first byte on; a folder whose key others may read is refused.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from telemed.enrolment import renew_at

from cloud_hub.access import device_ca
from cloud_hub.access.device_ca import Authority
from cloud_hub.errors import ConfigRefused
from cloud_hub.store.blobs import sync_folder

AUTHORITY_KEY, AUTHORITY = "ca.key", "ca.pem"
LISTENERS_KEY, LISTENERS = "listeners.key", "listeners.pem"
CLIENT_KEY, CLIENT = "hub-client.key", "hub-client.pem"
PAGES_KEY, PAGES = "pages.key", "pages.pem"
DENIED, REVOKED = "denied.txt", "revoked.crl"


@dataclass(frozen=True, slots=True)
class CaFolder:
    """The hub's authority, and where its files are."""

    folder: Path
    region: str
    authority: Authority
    listeners: x509.Certificate
    listeners_key: ec.EllipticCurvePrivateKey

    def pem(self, name: str) -> bytes:
        """Return one of the files."""
        return (self.folder / name).read_bytes()

    def path(self, name: str) -> Path:
        """Return where one of the files is."""
        return self.folder / name

    def keep_pages(self, hosts: Sequence[str], now: datetime) -> None:
        """Make the certificate of the hub's pages where there is none, for other names, or where it is time.

        Raises:
            OSError: it cannot be stored.
            ValueError: what is there cannot be read.
        """
        key_file, file = self.folder / PAGES_KEY, self.folder / PAGES
        if not key_file.exists():
            put_in_place(key_file, _private(device_ca.new_key()), 0o600)
        fresh = device_ca.for_pages(self.authority, _key(key_file).public_key(), hosts, now)
        if file.exists():
            stored = x509.load_pem_x509_certificate(file.read_bytes())
            if _is_same(stored, fresh) and now < renew_at(stored):
                return
        chain = fresh.public_bytes(Encoding.PEM) + self.authority.certificate.public_bytes(Encoding.PEM)
        put_in_place(file, chain, 0o644)

    def write_denied(self, serials: frozenset[str], crl: x509.CertificateRevocationList) -> None:
        """Write what is revoked, for brokers: one file of numbers for ours, one list for others."""
        put_in_place(self.folder / DENIED, "".join(f"{serial}\n" for serial in sorted(serials)).encode(), 0o644)
        put_in_place(self.folder / REVOKED, crl.public_bytes(Encoding.PEM), 0o644)


def open_folder(folder: Path, region: str, hosts: Sequence[str], user: str) -> CaFolder:
    """Return the authority of a folder, with everything that is not there yet made.

    Args:
        folder: may not exist yet.
        region: whose hub it is.
        hosts: by which nodes reach the hub; the listeners' certificate is made anew where they changed.
        user: name of the hub at its broker.

    Raises:
        ConfigRefused: it cannot be made or read, or others may read its keys.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = _authority(folder, region)
        listeners, key = _listeners(folder, authority, region, hosts)
        _client(folder, authority, region, user)
        for name in (AUTHORITY_KEY, LISTENERS_KEY, CLIENT_KEY):
            _refuse_open(folder / name)
    except OSError as error:
        raise ConfigRefused(f"pki.folder: {error.filename or folder}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigRefused(f"pki.folder: {folder}: a key or certificate there cannot be read") from error
    return CaFolder(folder, region, authority, listeners, key)


def _authority(folder: Path, region: str) -> Authority:
    key_file, file = folder / AUTHORITY_KEY, folder / AUTHORITY
    if not key_file.exists() and not file.exists():
        made = device_ca.new_authority(region)
        put_in_place(file, made.certificate.public_bytes(Encoding.PEM), 0o644)
        put_in_place(key_file, _private(made.key), 0o600)
        return made
    key, certificate = _key(key_file), x509.load_pem_x509_certificate(file.read_bytes())
    if certificate.public_key() != key.public_key():
        raise ConfigRefused(f"pki.folder: {AUTHORITY_KEY} is not the key of {AUTHORITY}")
    return Authority(certificate, key)


def _listeners(
    folder: Path, authority: Authority, region: str, hosts: Sequence[str]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key_file, file = folder / LISTENERS_KEY, folder / LISTENERS
    if not key_file.exists():
        put_in_place(key_file, _private(device_ca.new_key()), 0o600)
    key = _key(key_file)
    fresh = device_ca.for_listeners(authority, key.public_key(), region, hosts)
    if file.exists():
        stored = x509.load_pem_x509_certificate(file.read_bytes())
        if _is_same(stored, fresh):
            return stored, key
    # The authority goes along: a node that enrols knows it by its fingerprint alone.
    chain = fresh.public_bytes(Encoding.PEM) + authority.certificate.public_bytes(Encoding.PEM)
    put_in_place(file, chain, 0o644)
    return fresh, key


def _client(folder: Path, authority: Authority, region: str, user: str) -> None:
    key_file, file = folder / CLIENT_KEY, folder / CLIENT
    if not key_file.exists():
        put_in_place(key_file, _private(device_ca.new_key()), 0o600)
    fresh = device_ca.for_hub_client(authority, _key(key_file).public_key(), region, user)
    if not file.exists() or not _is_same(x509.load_pem_x509_certificate(file.read_bytes()), fresh):
        put_in_place(file, fresh.public_bytes(Encoding.PEM), 0o644)


def _is_same(stored: x509.Certificate, fresh: x509.Certificate) -> bool:
    return stored.subject == fresh.subject and list(stored.extensions) == list(fresh.extensions)


def _key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigRefused(f"pki.folder: {file.name} is no ECDSA key")
    return key


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _refuse_open(file: Path) -> None:
    if file.stat().st_mode & 0o077:
        raise ConfigRefused(f"pki.folder: {file} can be read by others: chmod 600 {file}")


def put_in_place(file: Path, content: bytes, mode: int) -> None:
    """Put a file in place whole, with its rights from the first byte on; return once it is on disk under its name."""
    fresh = file.with_suffix(file.suffix + ".new")
    fresh.unlink(missing_ok=True)
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(number, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
    sync_folder(file.parent)
