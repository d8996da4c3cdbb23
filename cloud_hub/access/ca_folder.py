"""The folder of the hub's authority: keys and certificates as files, made at the first start.

Private keys are 0600 from their first byte on; a folder whose key others may read is refused.  While an earlier
authority is still trusted, the newest signs nodes, and what the hub shows stays of the oldest: every node knows that
one, also a node that was away when the newest came.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.enrolment import MALFORMED, is_issued_by, renew_at
from telemed.errors import CertificateUnusable
from telemed.whole_files import write_whole

from cloud_hub.access import authorities, device_ca
from cloud_hub.access.authorities import Elsewhere, Trusted, private_pem, read_key, refuse_open
from cloud_hub.access.authority_chain import Names
from cloud_hub.access.device_ca import Authority
from cloud_hub.errors import ConfigRefused

AUTHORITY_KEY, AUTHORITY = "ca.key", "ca.pem"
"""Of the first authority; see `authorities` for further ones."""
TRUSTED = "trusted.pem"
"""All authorities whose certificates count, for listeners and brokers."""
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
    """The one that issues."""
    listeners: x509.Certificate
    listeners_key: ec.EllipticCurvePrivateKey
    former: tuple[Trusted, ...] = field(default=())
    """Those before it that are still trusted, the oldest first."""
    number: int = 1
    """Of the one that issues."""

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """All authorities whose certificates count, the one that issues first."""
        return (self.authority.certificate, *(each.certificate for each in reversed(self.former)))

    @property
    def pinned(self) -> bytes:
        """What tokens pin: SHA-256 of the authority of what the hub shows."""
        return sha256(self.trusted[-1].public_bytes(Encoding.DER)).digest()

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
            CertificateUnusable: its key cannot be used, or its authority has ended.
        """
        key_file, file = self.folder / PAGES_KEY, self.folder / PAGES
        if not key_file.exists():
            write_whole(key_file, private_pem(device_ca.new_key()), 0o600)
        try:
            key = read_key(key_file).public_key()
        except (*MALFORMED, ConfigRefused) as error:
            raise CertificateUnusable(f"{key_file} is no key on P-256: delete it, and another is made") from error
        signer = next((each for each in self._signers if now < each.ends), None)
        if signer is None:
            raise CertificateUnusable(f"the hub's authority ended at {self.authority.ends}: it needs a successor")
        fresh = device_ca.for_pages(signer, key, hosts, now)
        if not _is_kept(file, fresh, signer, now):
            write_whole(file, _chain(fresh, signer.shown), 0o644)

    @property
    def _signers(self) -> tuple[Authority, ...]:
        """Those that can sign, the oldest first."""
        return (*(each.authority for each in self.former if each.authority is not None), self.authority)

    def write_denied(self, serials: frozenset[str], now: datetime) -> None:
        """Write what is revoked, for brokers: one file of numbers for ours, one list for others; only what differs.

        Blocking.

        Raises:
            OSError: one of them cannot be stored.
        """
        numbers = "".join(f"{serial}\n" for serial in sorted(serials)).encode()
        if not self.path(DENIED).exists() or self.pem(DENIED) != numbers:
            write_whole(self.path(DENIED), numbers, 0o644)
        lists = self._lists(serials, now)
        if not self.path(REVOKED).exists() or self.pem(REVOKED) != lists:
            write_whole(self.path(REVOKED), lists, 0o644)

    def _lists(self, serials: frozenset[str], now: datetime) -> bytes:
        """Return a list of each authority, for a broker refuses whom it has no list for; good ones stay as they are."""
        stored = _stored_lists(self.path(REVOKED))
        lists = []
        for each in (*self.former, Trusted(0, self.authority.certificate, self.authority)):
            kept = next((one for one in stored if _is_list_of(one, each.certificate)), None)
            if each.authority is not None and (kept is None or not _does(kept, serials, now)):
                kept = device_ca.revocation_list(each.authority, serials, now)
            # Without its key an authority's last list must do: who was revoked since has no rights at the broker.
            lists += [] if kept is None else [kept.public_bytes(Encoding.PEM)]
        return b"".join(lists)


def open_folder(
    folder: Path, region: str, hosts: Sequence[str], user: str, elsewhere: Elsewhere | None = None
) -> CaFolder:
    """Return the authority of a folder, with everything that is not there yet made.

    Args:
        folder: may not exist yet.
        region: whose hub it is.
        hosts: by which nodes reach the hub; the listeners' certificate is made anew where they changed.
        user: name of the hub at its broker.
        elsewhere: the authority that is to issue, where it was made somewhere else.

    Raises:
        ConfigRefused: it cannot be made or read, or others may read its keys, or the authority's chain is bad.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = authorities.load(folder, Names(region, tuple(hosts), user), elsewhere)
        authority = known[-1].authority
        assert authority is not None
        listeners, key = _listeners(folder, known[0], region, hosts)
        _client(folder, authority, region, user)
        opened = CaFolder(folder, region, authority, listeners, key, known[:-1], known[-1].number)
        trusted = b"".join(each.public_bytes(Encoding.PEM) for each in opened.trusted)
        if not opened.path(TRUSTED).exists() or opened.pem(TRUSTED) != trusted:
            write_whole(opened.path(TRUSTED), trusted, 0o644)
        for name in (LISTENERS_KEY, CLIENT_KEY):
            refuse_open(folder / name)
    except OSError as error:
        raise ConfigRefused(f"pki.folder: {error.filename or folder}: {error.strerror}") from error
    except MALFORMED as error:
        raise ConfigRefused(f"pki.folder: {folder}: a key or certificate there cannot be read") from error
    return opened


def _listeners(
    folder: Path, shown: Trusted, region: str, hosts: Sequence[str]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key_file, file = folder / LISTENERS_KEY, folder / LISTENERS
    if shown.authority is None:
        return _kept_listeners(folder, shown, hosts)
    if not key_file.exists():
        write_whole(key_file, private_pem(device_ca.new_key()), 0o600)
    key = read_key(key_file)
    listeners = device_ca.for_listeners(shown.authority, key.public_key(), region, hosts)
    if file.exists():
        stored = x509.load_pem_x509_certificate(file.read_bytes())
        listeners = stored if _is_same(stored, listeners) else listeners
    # The authority goes along: a node that enrols knows it by its fingerprint alone.
    chain = _chain(listeners, shown.authority.shown)
    if not file.exists() or file.read_bytes() != chain:
        write_whole(file, chain, 0o644)
    return listeners, key


def _kept_listeners(
    folder: Path, shown: Trusted, hosts: Sequence[str]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return what an authority signed that can sign no more.

    Raises:
        ConfigRefused: it is not there, or for other names.
    """
    key_file, file = folder / LISTENERS_KEY, folder / LISTENERS
    if key_file.exists() and file.exists():
        key, stored = read_key(key_file), x509.load_pem_x509_certificate(file.read_bytes())
        is_good = stored.public_key() == key.public_key() and is_issued_by(stored, [shown.certificate])
        if is_good and device_ca.is_for_hosts(stored, hosts):
            return stored, key
    raise ConfigRefused(
        f"pki.folder: the key of an earlier authority is gone, and {file} is not for {', '.join(hosts)}: put pki.names "
        "back as they were, or end it by `cloud-hub authority retire`"
    )


def _client(folder: Path, authority: Authority, region: str, user: str) -> None:
    key_file, file = folder / CLIENT_KEY, folder / CLIENT
    if not key_file.exists():
        write_whole(key_file, private_pem(device_ca.new_key()), 0o600)
    fresh = device_ca.for_hub_client(authority, read_key(key_file).public_key(), region, user)
    if not file.exists() or not _is_same(x509.load_pem_x509_certificate(file.read_bytes()), fresh):
        write_whole(file, fresh.public_bytes(Encoding.PEM), 0o644)


def _chain(certificate: x509.Certificate, above: Sequence[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, *above))


def _is_same(stored: x509.Certificate, fresh: x509.Certificate) -> bool:
    is_for_key = stored.public_key() == fresh.public_key() and stored.issuer == fresh.issuer
    return is_for_key and stored.subject == fresh.subject and list(stored.extensions) == list(fresh.extensions)


def _is_kept(file: Path, fresh: x509.Certificate, signer: Authority, now: datetime) -> bool:
    """Return whether the certificate of pages that is there still does; a damaged one does not."""
    if not file.exists():
        return False
    try:
        stored, *above = x509.load_pem_x509_certificates(file.read_bytes())
        return _is_same(stored, fresh) and tuple(above) == signer.shown and now < renew_at(stored)
    except MALFORMED:
        return False


def _stored_lists(file: Path) -> list[x509.CertificateRevocationList]:
    """Return the revocation lists of a file; none where it is damaged."""
    if not file.exists():
        return []
    ended = [part + _LIST_END for part in file.read_bytes().split(_LIST_END)[:-1]]
    try:
        return [x509.load_pem_x509_crl(each) for each in ended]
    except MALFORMED:
        return []


def _is_list_of(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        return crl.issuer == authority.subject and crl.is_signature_valid(key)
    except MALFORMED:
        return False


def _does(crl: x509.CertificateRevocationList, serials: frozenset[str], now: datetime) -> bool:
    """Return whether a revocation list is of this time for long, and holds just these."""
    try:
        listed = {f"{one.serial_number:x}" for one in crl}
        ends, begins = crl.next_update_utc, crl.last_update_utc
    except MALFORMED:
        return False
    return ends is not None and begins <= now < ends - device_ca.LIST_LIFE / 2 and listed == serials


_LIST_END = b"-----END X509 CRL-----\n"
