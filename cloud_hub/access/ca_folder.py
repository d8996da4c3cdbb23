"""The folder of the hub's authority: keys and certificates as files, made at the first start.

Private keys are 0600 from their first byte on; a folder whose key others may read is refused.
"""

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
from telemed.enrolment import MALFORMED, renew_at
from telemed.errors import CertificateUnusable
from telemed.whole_files import write_whole

from cloud_hub.access import device_ca
from cloud_hub.access.device_ca import Authority
from cloud_hub.errors import ConfigRefused

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
        """Make the certificate of the hub's pages where there is none that is good, for other names, or in time.

        Raises:
            OSError: it cannot be stored.
            CertificateUnusable: its key cannot be used.
        """
        key_file, file = self.folder / PAGES_KEY, self.folder / PAGES
        if not key_file.exists():
            write_whole(key_file, _private(device_ca.new_key()), 0o600)
        try:
            key = _key(key_file).public_key()
        except (*MALFORMED, ConfigRefused) as error:
            raise CertificateUnusable(f"{key_file} is no key on P-256: delete it, and another is made") from error
        fresh = device_ca.for_pages(self.authority, key, hosts, now)
        if _is_kept(file, fresh, now):
            return
        chain = fresh.public_bytes(Encoding.PEM) + self.authority.certificate.public_bytes(Encoding.PEM)
        write_whole(file, chain, 0o644)

    def write_denied(self, serials: frozenset[str], now: datetime) -> None:
        """Write what is revoked, for brokers: one file of numbers for ours, one list for others; only what differs.

        Blocking.

        Raises:
            OSError: one of them cannot be stored.
        """
        numbers = "".join(f"{serial}\n" for serial in sorted(serials)).encode()
        if not self.path(DENIED).exists() or self.pem(DENIED) != numbers:
            write_whole(self.path(DENIED), numbers, 0o644)
        if not self._lists(serials, now):
            crl = device_ca.revocation_list(self.authority, serials, now)
            write_whole(self.path(REVOKED), crl.public_bytes(Encoding.PEM), 0o644)

    def _lists(self, serials: frozenset[str], now: datetime) -> bool:
        """Return whether the revocation list that is there is ours, of this time for long, and holds just these."""
        if not self.path(REVOKED).exists():
            return False
        try:
            crl = x509.load_pem_x509_crl(self.pem(REVOKED))
            is_ours = crl.is_signature_valid(self.authority.key.public_key())
            listed = {f"{one.serial_number:x}" for one in crl}
        except MALFORMED:
            return False
        ends = crl.next_update_utc
        is_of_time = ends is not None and crl.last_update_utc <= now < ends - device_ca.LIST_LIFE / 2
        return is_ours and is_of_time and listed == serials


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
    except MALFORMED as error:
        raise ConfigRefused(f"pki.folder: {folder}: a key or certificate there cannot be read") from error
    return CaFolder(folder, region, authority, listeners, key)


def _authority(folder: Path, region: str) -> Authority:
    key_file, file = folder / AUTHORITY_KEY, folder / AUTHORITY
    if not file.exists():
        # The key first: whoever was killed between the two makes the certificate at the next start.
        if not key_file.exists():
            write_whole(key_file, _private(device_ca.new_key()), 0o600)
        made = device_ca.new_authority(region, _key(key_file))
        write_whole(file, made.certificate.public_bytes(Encoding.PEM), 0o644)
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
        write_whole(key_file, _private(device_ca.new_key()), 0o600)
    key = _key(key_file)
    fresh = device_ca.for_listeners(authority, key.public_key(), region, hosts)
    if file.exists():
        stored = x509.load_pem_x509_certificate(file.read_bytes())
        if _is_same(stored, fresh):
            return stored, key
    # The authority goes along: a node that enrols knows it by its fingerprint alone.
    chain = fresh.public_bytes(Encoding.PEM) + authority.certificate.public_bytes(Encoding.PEM)
    write_whole(file, chain, 0o644)
    return fresh, key


def _client(folder: Path, authority: Authority, region: str, user: str) -> None:
    key_file, file = folder / CLIENT_KEY, folder / CLIENT
    if not key_file.exists():
        write_whole(key_file, _private(device_ca.new_key()), 0o600)
    fresh = device_ca.for_hub_client(authority, _key(key_file).public_key(), region, user)
    if not file.exists() or not _is_same(x509.load_pem_x509_certificate(file.read_bytes()), fresh):
        write_whole(file, fresh.public_bytes(Encoding.PEM), 0o644)


def _is_same(stored: x509.Certificate, fresh: x509.Certificate) -> bool:
    is_for_key = stored.public_key() == fresh.public_key()
    return is_for_key and stored.subject == fresh.subject and list(stored.extensions) == list(fresh.extensions)


def _is_kept(file: Path, fresh: x509.Certificate, now: datetime) -> bool:
    """Return whether the certificate of pages that is there still does; a damaged one does not."""
    if not file.exists():
        return False
    try:
        stored = x509.load_pem_x509_certificate(file.read_bytes())
        return _is_same(stored, fresh) and now < renew_at(stored)
    except MALFORMED:
        return False


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
