"""The hub's own certificate authority for nodes: what it signs and what it takes (pure; files are in `ca_folder`).

One key on P-256 signs nodes, the hub's listeners and the pages of home nodes.  A node judges the hub by name and by the
pinned authority, never by the date: its own clock may show 1970.  So the authority and the listeners for nodes bear the
whole of time (RFC 5280, 4.1.2.5).  What the hub judges itself, on its own clock, is short: a node's seven days.

An authority may stand below an organisation's.  What is trusted is then still a certificate that its own key signed:
below the organisation's root there are others, whose nodes are none of ours.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from telemed.enrolment import BACK_DATED, MALFORMED, hub_urn, is_issued_by, node_of, node_urn, urns_of
from telemed.topics import NodeAddress

ALWAYS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
PAGE_LIFE = timedelta(days=397)
"""Browsers refuse certificates of pages that live longer."""
LIST_LIFE = timedelta(days=3650)
"""A revocation list that a broker thinks too old would shut everybody out; it is made anew with each revocation."""
_NAME_LIMIT = 64
_HASH = hashes.SHA256()


class RequestUnusable(ValueError):
    """A request for a certificate is none, its signature is wrong, or its key is not on P-256."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority with its key."""

    certificate: x509.Certificate
    """What nodes and listeners trust: signed by its own key, and without an end."""
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()
    """What an organisation signed for the same key and name, then that one's issuer, and so on up to the root; empty
    where it stands on its own."""

    @property
    def ends(self) -> datetime:
        """When it may sign no more: the first end in its chain."""
        return min((each.not_valid_after_utc for each in self.chain), default=self.certificate.not_valid_after_utc)

    def days_left(self, now: datetime) -> float:
        """Return in how many days it ends; negative afterwards."""
        return (self.ends - now) / timedelta(days=1)

    @property
    def shown(self) -> tuple[x509.Certificate, ...]:
        """What goes along with everything that it signed for servers, the issuer first; roots are not sent."""
        return (*(each for each in self.chain if each.issuer != each.subject), self.certificate)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a certificate says of whoever shows it."""

    address: NodeAddress | None
    """None: the hub itself."""
    name: str
    """Common name, by which the brokers know it."""
    serial: str
    """Hex digits."""
    ends: datetime


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh key of the kind that everything here uses."""
    return ec.generate_private_key(ec.SECP256R1())


def new_authority(region: str, key: ec.EllipticCurvePrivateKey | None = None, number: int = 1) -> Authority:
    """Return a fresh authority for a region, or a fresh certificate of the one that has this key.

    Args:
        region: whose hub it is.
        key: None: a new one.
        number: how many the hub has had with this one; stands in its name, so that no two are called the same.
    """
    key = key or new_key()
    return Authority(_trusted(_authority_name(region, number), key), key)


def below(chain: tuple[x509.Certificate, ...], key: ec.EllipticCurvePrivateKey) -> Authority:
    """Return the authority for which an organisation signed the first certificate of a chain.

    Raises:
        MALFORMED: the name or a part of that certificate cannot be read.
    """
    return Authority(_trusted(chain[0].subject, key, _key_identifier(chain[0])), key, chain)


def request_of(region: str, key: ec.EllipticCurvePrivateKey, named: x509.Name | int) -> x509.CertificateSigningRequest:
    """Return what an organisation's authority is asked to sign.

    Args:
        region: whose hub it is.
        key: of the authority.
        named: how it is called, or the number by which its name is made.
    """
    name = _authority_name(region, named) if isinstance(named, int) else named
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.add_extension(identifier, critical=False).sign(key, _HASH)


def _authority_name(region: str, number: int) -> x509.Name:
    return _named(f"Yuanzhen {region} device CA" + (f" {number}" if number > 1 else ""))


def _trusted(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, identifier: x509.SubjectKeyIdentifier | None = None
) -> x509.Certificate:
    builder = _begun(subject, subject, key.public_key(), ALWAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    identifier = identifier or x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return builder.add_extension(identifier, critical=False).sign(key, _HASH)


def _key_identifier(certificate: x509.Certificate) -> x509.SubjectKeyIdentifier | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return None


def read_request(der: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key that a request is for; what it asks to be called is not looked at.

    Raises:
        RequestUnusable: it is no request for a key on P-256, signed by that key.
    """
    try:
        request = x509.load_der_x509_csr(der)
        key, is_signed = request.public_key(), request.is_signature_valid
    except MALFORMED as error:
        raise RequestUnusable("not a request for a certificate") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RequestUnusable("the key is not on P-256")
    if not is_signed:
        raise RequestUnusable("the request is not signed by its key")
    return key


def for_node(
    authority: Authority, key: ec.EllipticCurvePublicKey, address: NodeAddress, now: datetime, life: timedelta
) -> x509.Certificate:
    """Return a certificate by which a node shows who it is; it ends with its authority, which must not have ended."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(node_urn(address))]
    times = (now - BACK_DATED, min(now + life, authority.ends))
    return _leaf(authority, key, address.node, names, times, ExtendedKeyUsageOID.CLIENT_AUTH)


def for_hub_client(authority: Authority, key: ec.EllipticCurvePublicKey, region: str, user: str) -> x509.Certificate:
    """Return the certificate by which the hub shows itself to its broker."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(hub_urn(region))]
    return _leaf(authority, key, user, names, ALWAYS, ExtendedKeyUsageOID.CLIENT_AUTH)


def for_listeners(
    authority: Authority, key: ec.EllipticCurvePublicKey, region: str, hosts: Sequence[str]
) -> x509.Certificate:
    """Return the certificate of what the hub opens for nodes: gRPC, MQTT, datagrams.

    Args:
        authority: who signs.
        key: of the listeners.
        region: whose hub it is.
        hosts: names and addresses by which nodes reach it; at least one.
    """
    names = [*_hosts(hosts), x509.UniformResourceIdentifier(hub_urn(region))]
    return _leaf(authority, key, hosts[0], names, ALWAYS, ExtendedKeyUsageOID.SERVER_AUTH)


def for_pages(
    authority: Authority, key: ec.EllipticCurvePublicKey, hosts: Sequence[str], now: datetime
) -> x509.Certificate:
    """Return the certificate of pages for browsers, of the hub or of a home node; it bears no name of ours.

    It ends with its authority, which must not have ended.
    """
    times = (now - BACK_DATED, min(now + PAGE_LIFE, authority.ends))
    return _leaf(authority, key, hosts[0], _hosts(hosts), times, ExtendedKeyUsageOID.SERVER_AUTH)


def revocation_list(authority: Authority, serials: Iterable[str], now: datetime) -> x509.CertificateRevocationList:
    """Return the list of revoked certificates, for brokers that read one."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    builder = builder.last_update(now - BACK_DATED).next_update(now + LIST_LIFE)
    for serial in sorted(serials):
        entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(now - BACK_DATED)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.add_extension(_issuer_key(authority), critical=False).sign(authority.key, _HASH)


def shown_by(certificate: x509.Certificate, region: str) -> Shown | None:
    """Return who shows a certificate; None where it is neither the hub's nor a node's of this region.

    Whether it may be believed is not looked at here.
    """
    name = next((str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")
    serial, ends = serial_of(certificate), certificate.not_valid_after_utc
    address = node_of(certificate)
    if address is not None:
        return Shown(address, name, serial, ends) if (address.region, address.node) == (region, name) else None
    return Shown(None, name, serial, ends) if hub_urn(region) in urns_of(certificate) else None


def is_good(certificate: x509.Certificate, trust: Sequence[x509.Certificate], now: datetime) -> bool:
    """Return whether a client's certificate is of a trusted authority, meant for clients, and of this time."""
    # Whose it is first: nothing else of a stranger's certificate is read.
    if not (is_issued_by(certificate, trust) and is_for_clients(certificate)):
        return False
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def is_for_clients(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may show who calls."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except MALFORMED:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage


def is_for_hosts(certificate: x509.Certificate, hosts: Sequence[str]) -> bool:
    """Return whether a certificate names all these hosts."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except MALFORMED:
        return False
    return all(each in names for each in _hosts(hosts))


def serial_of(certificate: x509.Certificate) -> str:
    """Return the serial number as it is stored and compared."""
    return f"{certificate.serial_number:x}"


def _leaf(
    authority: Authority,
    key: ec.EllipticCurvePublicKey,
    name: str,
    names: Sequence[x509.GeneralName],
    times: tuple[datetime, datetime],
    usage: x509.ObjectIdentifier,
) -> x509.Certificate:
    builder = _begun(_named(name[:_NAME_LIMIT]), authority.certificate.subject, key, times)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.add_extension(_issuer_key(authority), critical=False).sign(authority.key, _HASH)


def _issuer_key(authority: Authority) -> x509.AuthorityKeyIdentifier:
    # As the authority's own certificate says it: an organisation may have drawn another than the usual hash.
    own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, times: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(times[0]).not_valid_after(times[1])


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _hosts(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_host(host) for host in hosts]


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
