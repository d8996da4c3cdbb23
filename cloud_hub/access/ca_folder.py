"""The folder of the hub's authority: keys and certificates as files, made at the first start.

Private keys are 0600 from their first byte on; a folder whose key others may read is refused.  While an earlier
authority is still trusted, the newest signs nodes, and what the hub shows stays of the oldest: every node knows that
one, also a node that was away when the newest came.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
"""All authorities whose certificates count, for listeners and for the embedded broker."""
BROKERS = "brokers.pem"
"""Those of them whose list says of all that were revoked, for a broker that knows nothing but lists."""
LISTENERS_KEY, LISTENERS = "listeners.key", "listeners.pem"
CLIENT_KEY, CLIENT = "hub-client.key", "hub-client.pem"
PAGES_KEY, PAGES = "pages.key", "pages.pem"
DENIED, REVOKED = "denied.txt", "revoked.crl"


@dataclass(frozen=True, slots=True)
class CaFolder:
    """The hub's authority, and where its files are."""

    folder: Path
    region: str
    known: tuple[Trusted, ...]
    """All authorities whose certificates count, the oldest first; the last one issues, and has its key."""
    listeners: x509.Certificate
    listeners_key: ec.EllipticCurvePrivateKey

    @property
    def authority(self) -> Authority:
        """The one that issues."""
        issuing = self.known[-1].authority
        assert issuing is not None
        return issuing

    @property
    def former(self) -> tuple[Trusted, ...]:
        """Those before it that are still trusted, the oldest first."""
        return self.known[:-1]

    @property
    def number(self) -> int:
        """Of the one that issues."""
        return self.known[-1].number

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """All authorities whose certificates count, the one that issues first."""
        return tuple(each.certificate for each in reversed(self.known))

    @property
    def pinned(self) -> bytes:
        """What tokens pin: SHA-256 of the authority of what the hub shows."""
        return self.known[0].sha256

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
        return tuple(each.authority for each in self.known if each.authority is not None)

    def write_denied(
        self, serials: frozenset[str], now: datetime, issued_ns: Mapping[str, int] | None = None
    ) -> tuple[int, ...]:
        """Write what is revoked, for brokers: numbers for ours, lists and whom to trust for others; only what differs.

        Blocking.

        Args:
            serials: of all that are revoked.
            now: the hub's clock.
            issued_ns: when certificates were issued, by number; of one that is not among them any authority may be the
                issuer.

        Returns:
            The numbers of the authorities that `BROKERS` leaves out: their keys are gone, and their last lists are gone
            too or lack one of theirs that was revoked since.

        Raises:
            OSError: one of the files cannot be stored.
        """
        lists = self._lists(serials, now)
        left_out = tuple(
            each.number for each in self.known if self._lacks(each, lists.get(each.number), serials, issued_ns or {})
        )
        numbers = "".join(f"{serial}\n" for serial in sorted(serials)).encode()
        _keep(self.path(DENIED), numbers)
        _keep(
            self.path(BROKERS), _pem(each.certificate for each in reversed(self.known) if each.number not in left_out)
        )
        _keep(self.path(REVOKED), b"".join(each.public_bytes(Encoding.PEM) for each in lists.values()))
        return left_out

    def _lists(self, serials: frozenset[str], now: datetime) -> dict[int, x509.CertificateRevocationList]:
        """Return a list of each authority, for a broker refuses whom it has no list for; good ones stay as they are.

        Without its key an authority's last list stays, and none is made where that is gone.
        """
        stored, lists = _stored_lists(self.path(REVOKED)), dict[int, x509.CertificateRevocationList]()
        for each in self.known:
            kept = next((one for one in stored if _is_list_of(one, each.certificate)), None)
            if each.authority is not None and (kept is None or not _does(kept, serials, now)):
                kept = device_ca.revocation_list(each.authority, serials, now)
            if kept is not None:
                lists[each.number] = kept
        return lists

    def _began_ns(self, number: int) -> int | None:
        try:
            return authorities.began_ns(self.folder, number)
        except ValueError:
            return None

    def _lacks(
        self,
        each: Trusted,
        crl: x509.CertificateRevocationList | None,
        serials: frozenset[str],
        issued_ns: Mapping[str, int],
    ) -> bool:
        """Return whether a broker that reads this list would let in somebody whom this authority signed.

        That a revoked node has no rights there is not enough: by a new token it gets them back, and rights go by name.
        """
        if each.authority is not None:
            return False
        if crl is None:
            return True
        began_ns = self._began_ns(each.number) or 0
        ended_ns = self._began_ns(next(one.number for one in self.known if one.number > each.number))
        unlisted = serials - {f"{one.serial_number:x}" for one in crl}
        times_ns = [issued_ns.get(serial) for serial in unlisted]
        return any(at_ns is None or ended_ns is None or began_ns < at_ns <= ended_ns for at_ns in times_ns)


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
        opened = CaFolder(folder, region, known, *_listeners(folder, known[0], region, hosts))
        _client(folder, opened.authority, region, user)
        _keep(folder / TRUSTED, _pem(opened.trusted))
        for name in (LISTENERS_KEY, CLIENT_KEY):
            refuse_open(folder / name)
    except OSError as error:
        raise ConfigRefused(f"pki.folder: {error.filename or folder}: {error.strerror}") from error
    except MALFORMED as error:
        raise ConfigRefused(f"pki.folder: {folder}: a key or certificate there cannot be read") from error
    return opened


def look_at(
    folder: Path, region: str, hosts: Sequence[str], user: str, elsewhere: Elsewhere | None = None
) -> tuple[Trusted, ...]:
    """Return the authorities that `open_folder` would find, oldest first; what it would refuse is, and nothing is made.

    Where there is none yet, none is returned: the start of the hub makes the first.

    Raises:
        ConfigRefused: as `open_folder`.
    """
    try:
        known = authorities.look(folder, Names(region, tuple(hosts), user), elsewhere)
        if known and known[0].authority is None:
            _kept_listeners(folder, known[0], hosts)
        for name in (LISTENERS_KEY, CLIENT_KEY):
            if (folder / name).exists():
                refuse_open(folder / name)
                read_key(folder / name)
        for name in (LISTENERS, CLIENT):
            if (folder / name).exists():
                x509.load_pem_x509_certificate((folder / name).read_bytes())
    except OSError as error:
        raise ConfigRefused(f"pki.folder: {error.filename or folder}: {error.strerror}") from error
    except MALFORMED as error:
        raise ConfigRefused(f"pki.folder: {folder}: a key or certificate there cannot be read") from error
    return known


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
    return _pem((certificate, *above))


def _keep(file: Path, content: bytes) -> None:
    """Write a file, but not where it is so already."""
    if not file.exists() or file.read_bytes() != content:
        write_whole(file, content, 0o644)


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


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
    """Return the revocation lists of a file; one that is damaged is none."""
    found: list[x509.CertificateRevocationList] = []
    for part in file.read_bytes().split(_LIST_END)[:-1] if file.exists() else []:
        with contextlib.suppress(*MALFORMED):
            found.append(x509.load_pem_x509_crl(part + _LIST_END))
    return found


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
