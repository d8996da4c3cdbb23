"""Whether what an organisation's authority signed makes the hub's own a good one (pure).

Nobody at a listener asks this: there the hub's own key is trusted, and nothing else below the organisation's root.  It
is asked once when a chain is put in place and at each start, so that whoever trusts the root can follow every
certificate up to it.  The path is judged by OpenSSL itself, over certificates as the hub will sign them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import crypto
from telemed.datagram import BODY_LIMIT_BYTES
from telemed.enrolment import MALFORMED, is_issued_by, pack_proof
from telemed.topics import NodeAddress

from cloud_hub.access import device_ca
from cloud_hub.access.device_ca import Authority

_LONGEST_NAME = "n" * 40
_SIGNATURE_BYTES = 72
"""Of the longest signature on P-256."""
_SHORT = timedelta(hours=1)
_BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_SAID = {
    24: "an authority above it is none (CA:TRUE is missing)",
    25: "an authority above it allows no further one below (path length)",
    47: "a name of it is not among those that an authority above permits (name constraints)",
    48: "a name of it is among those that an authority above excludes (name constraints)",
    51: "an authority above constrains a kind of name that cannot be judged",
    52: "an authority above constrains a kind of name that cannot be judged",
    53: "an authority above constrains a kind of name that it bears in a form without a host, such as urn:yuanzhen:",
}
"""Numbers of OpenSSL's findings that an organisation is likely to cause, in plain words."""


class ChainUnusable(ValueError):
    """What an organisation's authority signed cannot be used; the message says why in plain words."""


@dataclass(frozen=True, slots=True)
class Names:
    """By what the hub and its nodes are called in certificates."""

    region: str
    hosts: tuple[str, ...]
    user: str
    """Of the hub at its broker."""


def read_chain(pem: bytes, key: ec.EllipticCurvePublicKey) -> tuple[x509.Certificate, ...]:
    """Return the certificate for a key, then its issuer, and so on up to the root; their order in the file is free.

    Raises:
        ChainUnusable: one of them is missing, or cannot be read.
    """
    try:
        given = x509.load_pem_x509_certificates(pem)
        mine = max((each for each in given if each.public_key() == key), key=_begins, default=None)
    except MALFORMED as error:
        raise ChainUnusable("no certificates in PEM form, or one of them cannot be read") from error
    if mine is None:
        raise ChainUnusable("none of its certificates is for the key of this hub's authority")
    ends: list[x509.Certificate] = []
    chain = _up_to_root((mine,), given, ends)
    if chain is None:
        raise ChainUnusable(f"the certificate of {_issuer_of(ends[0])} is missing: give the chain up to its root")
    return chain


def _up_to_root(
    chain: tuple[x509.Certificate, ...], given: Sequence[x509.Certificate], ends: list[x509.Certificate]
) -> tuple[x509.Certificate, ...] | None:
    """Return a chain that goes on up to a root; None where no way leads there: then all that led nowhere are in `ends`.

    An authority that several roots have signed has a certificate of each, and perhaps one of the roots alone is given.
    """
    last = chain[-1]
    if is_issued_by(last, [last]):
        return chain
    for each in given:
        if each not in chain and each not in ends and is_issued_by(last, [each]):
            found = _up_to_root((*chain, each), given, ends)
            if found is not None:
                return found
    ends.append(last)
    return None


def judge(authority: Authority, names: Names) -> None:
    """Judge everything but the time of an authority below another one.

    Raises:
        ChainUnusable: certificates that it signs would not be good.
    """
    try:
        _judge_own(authority.chain[0])
        for each in authority.chain[:-1]:
            _judge_purposes(each)
        begins = max(map(_begins, authority.chain))
        if begins >= authority.ends:
            raise ChainUnusable("the periods of its certificates do not overlap")
        for what, certificate in _samples(authority, names, begins):
            _judge_path(what, certificate, authority.chain, begins)
        _judge_lengths(authority, names, begins)
    except MALFORMED as error:
        if isinstance(error, ChainUnusable):
            raise
        raise ChainUnusable("a part of one of its certificates cannot be read") from error


def judge_time(chain: Sequence[x509.Certificate], now: datetime) -> None:
    """Judge the periods of a chain.

    Raises:
        ChainUnusable: one of its certificates has ended, or has not begun.
    """
    for each in chain:
        if now > each.not_valid_after_utc:
            raise ChainUnusable(f"the certificate of {_name_of(each)} ended at {each.not_valid_after_utc}")
        if now < each.not_valid_before_utc:
            raise ChainUnusable(f"the certificate of {_name_of(each)} begins at {each.not_valid_before_utc} only")


def _judge_own(own: x509.Certificate) -> None:
    key = own.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ChainUnusable("the authority's key is not on P-256")
    if not _is_ca(own):
        raise ChainUnusable("it was signed for no authority (basicConstraints CA:TRUE is missing)")
    try:
        usage = own.extensions.get_extension_for_class(x509.KeyUsage).value
        may_sign = usage.key_cert_sign and usage.crl_sign
    except x509.ExtensionNotFound:
        may_sign = False
    if not may_sign:
        raise ChainUnusable("it may not sign certificates and revocations (keyUsage keyCertSign, cRLSign)")


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _judge_purposes(certificate: x509.Certificate) -> None:
    """Refuse an authority that is for one purpose alone: OpenSSL takes that as a limit on all below."""
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in purposes and not all(each in purposes for each in _BOTH):
        raise ChainUnusable(f"{_name_of(certificate)} is not for both servers and clients (extendedKeyUsage)")


def _samples(authority: Authority, names: Names, now: datetime) -> Iterator[tuple[str, x509.Certificate]]:
    """Yield certificates as the hub will sign them, for a key that nobody keeps."""
    key, node = device_ca.new_key().public_key(), _longest_node(names.region)
    hosts = list(names.hosts)
    yield "the certificate of the listeners", device_ca.for_listeners(authority, key, names.region, hosts)
    yield "the certificate of the hub's pages", device_ca.for_pages(authority, key, hosts, now)
    yield "the hub's certificate for its broker", device_ca.for_hub_client(authority, key, names.region, names.user)
    yield "a node's certificate", device_ca.for_node(authority, key, node, now, _SHORT)


def _judge_path(what: str, certificate: x509.Certificate, chain: Sequence[x509.Certificate], begins: datetime) -> None:
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(chain[-1]))
    # At a time that is good for all of them: the hub's clock may be wrong at its start.
    store.set_time(begins)
    between = [crypto.X509.from_cryptography(each) for each in chain[:-1]]
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(certificate), between).verify_certificate()
    except crypto.X509StoreContextError as error:
        number, _, text = error.errors
        raise ChainUnusable(f"{what} would not be good: {_SAID.get(number, text)}") from error


def _judge_lengths(authority: Authority, names: Names, now: datetime) -> None:
    """Refuse a name of an authority so long that what nodes and hub prove themselves by fills no datagram any more."""
    key, hosts = device_ca.new_key().public_key(), list(names.hosts)
    node = device_ca.for_node(authority, key, _longest_node(names.region), now, _SHORT)
    listeners = device_ca.for_listeners(authority, key, names.region, hosts)
    proofs = [pack_proof(bytes(_SIGNATURE_BYTES), each.public_bytes(Encoding.DER)) for each in (node, listeners)]
    over_bytes = max(map(len, proofs)) - BODY_LIMIT_BYTES
    if over_bytes > 0:
        raise ChainUnusable(f"the authority's name is {over_bytes} bytes too long: proofs would fit no datagram")


def _longest_node(region: str) -> NodeAddress:
    return NodeAddress(region, _LONGEST_NAME, _LONGEST_NAME)


def _begins(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_before_utc


def _name_of(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def _issuer_of(certificate: x509.Certificate) -> str:
    return certificate.issuer.rfc4514_string()
