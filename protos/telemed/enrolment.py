"""What hub and node must agree upon to let a node in: the token, names in certificates, what is signed, refusals.

Pure.  A token is one line that a person carries to the node, by hand or as a QR code::

    yuanzhen://<host>:<port>/<region>/<site>/<node>#<secret>.<SHA-256 of the CA's certificate>

A certificate of a node bears its name as common name and its address as `urn:yuanzhen:<region>:<site>:<node>`; one of
the hub itself bears `urn:yuanzhen:<region>`.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from telemed.topics import NodeAddress

SCHEME = "yuanzhen"
SECRET_BYTES = 16
HASH_BYTES = 32
MESSAGE_LIMIT_BYTES = 16 * 1024
"""Of one message of the enrolment, both ways."""
BACK_DATED = timedelta(minutes=5)
"""So much before it is given a certificate begins: a hub whose clock is set back a little must not refuse it."""
RENEW_AFTER = 2 / 3
"""Share of its life after which a certificate is renewed."""
_URN = "urn:yuanzhen:"
_SIGNATURE_HASH = hashes.SHA256()
RENEWAL = b"yuanzhen renewal 1\0"
DATAGRAM_NODE = b"yuanzhen datagram node 1\0"
DATAGRAM_HUB = b"yuanzhen datagram hub 1\0"
"""What a signature is for stands before what is signed, so that none can be used for another purpose."""
MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading a part of a stranger's certificate or request may raise: most parts are read when they are asked for."""


class Refusal(StrEnum):
    """Why the hub does not give a node a certificate; never reworded."""

    TOKEN_UNKNOWN = "token-unknown"  # noqa: S105 - a reason, not a secret
    TOKEN_EXPIRED = "token-expired"  # noqa: S105 - a reason, not a secret
    TOKEN_USED = "token-used"  # noqa: S105 - a reason, not a secret
    REQUEST_BAD = "request-bad"
    CERTIFICATE_UNKNOWN = "certificate-unknown"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CERTIFICATE_TOO_OLD = "certificate-too-old"
    RENEWED_ELSEWHERE = "renewed-elsewhere"
    NAME_TAKEN = "name-taken"
    AUTHORITY_ENDED = "authority-ended"
    TOO_MANY = "too-many"


REFUSALS: dict[str, tuple[str, str]] = {
    Refusal.TOKEN_UNKNOWN: (
        "中心不认得这个入网码：请向运维索取新的入网码",
        "The hub does not know this token: ask the operator for a new one",
    ),
    Refusal.TOKEN_EXPIRED: (
        "入网码已过期（10 分钟内有效）：请向运维索取新的入网码",
        "The token is over (it is good for 10 minutes): ask the operator for a new one",
    ),
    Refusal.TOKEN_USED: (
        "入网码已被另一台主机使用：如不是您本人操作，请立即告知运维",
        "Another machine has used this token: if that was not you, tell the operator at once",
    ),
    Refusal.REQUEST_BAD: (
        "证书申请无法识别：请联系技术支持",
        "The request for a certificate cannot be used: call support",
    ),
    Refusal.CERTIFICATE_UNKNOWN: (
        "中心没有颁发过本站的这张证书：请重新入网",
        "The hub never issued this certificate: enrol this node anew",
    ),
    Refusal.CERTIFICATE_REVOKED: (
        "本站证书已被吊销，数据仍在本站保存：请联系运维重新入网",
        "This node's certificate was revoked, its data are kept here: call the operator and enrol anew",
    ),
    Refusal.CERTIFICATE_TOO_OLD: (
        "本站证书过期太久，数据仍在本站保存：请联系运维重新入网",
        "This node's certificate ended too long ago, its data are kept here: call the operator and enrol anew",
    ),
    Refusal.RENEWED_ELSEWHERE: (
        "另一台主机已用本站的证书换过新证书：磁盘可能被复制，请联系运维",
        "Another machine renewed this node's certificate: its disk may have been copied, call the operator",
    ),
    Refusal.NAME_TAKEN: (
        "本站的名称已被另一站点或中心使用：请联系运维",
        "Another site, or the hub itself, bears this node's name: call the operator",
    ),
    Refusal.AUTHORITY_ENDED: (
        "中心的证书颁发机构已到期，无法发证，数据仍在本站保存：请联系运维",
        "The hub's own authority has ended and gives no certificates, data are kept here: call the operator",
    ),
    Refusal.TOO_MANY: (
        "申请过于频繁，请稍候再试",
        "Too many requests, try again in a moment",
    ),
}
"""The same in plain words: Chinese, English."""


@dataclass(frozen=True, slots=True)
class Token:
    """What an operator gives to whoever sets up a node."""

    host: str
    port: int
    """Of the hub's door for nodes without a certificate."""
    address: NodeAddress
    secret: str = field(repr=False)
    ca_sha256: bytes

    def text(self) -> str:
        """Return the line that is carried to the node."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = "/".join((self.address.region, self.address.site, self.address.node))
        return f"{SCHEME}://{host}:{self.port}/{where}#{self.secret}.{_plain(self.ca_sha256)}"


def parse_token(text: str) -> Token:
    """Return the token written as `text`.

    Raises:
        ValueError: it is none; the message does not repeat it, because it holds a secret.
    """
    try:
        parts = urlsplit(text.strip())
        secret, _, fingerprint = parts.fragment.partition(".")
        region, site, node = parts.path.strip("/").split("/")
        address, ca_sha256 = NodeAddress(region, site, node), _bytes_of(fingerprint)
        host, port = parts.hostname, parts.port
    except (ValueError, binascii.Error) as error:
        raise ValueError("this is no token: copy the whole line, from yuanzhen:// to its end") from error
    is_whole = parts.scheme == SCHEME and host and port and secret and len(ca_sha256) == HASH_BYTES
    if not is_whole:
        raise ValueError("this is no token: copy the whole line, from yuanzhen:// to its end")
    assert host is not None
    assert port is not None
    return Token(host, port, address, secret, ca_sha256)


def secret_text(drawn: bytes) -> str:
    """Return random bytes as the secret of a token."""
    return _plain(drawn)


def node_urn(address: NodeAddress) -> str:
    """Return the name by which a certificate says which node's it is."""
    return f"{_URN}{address.region}:{address.site}:{address.node}"


def hub_urn(region: str) -> str:
    """Return the name by which a certificate says that it is the hub's."""
    return f"{_URN}{region}"


def urns_of(certificate: x509.Certificate) -> list[str]:
    """Return the names of ours that a certificate bears."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except MALFORMED:
        return []
    return [name for name in names.get_values_for_type(x509.UniformResourceIdentifier) if name.startswith(_URN)]


def node_of(certificate: x509.Certificate) -> NodeAddress | None:
    """Return whose certificate it is; None where it is no node's.  Nothing of it is verified here."""
    for urn in urns_of(certificate):
        parts = urn.removeprefix(_URN).split(":")
        if len(parts) == 3:
            try:
                return NodeAddress(*parts)
            except ValueError:
                return None
    return None


def is_issued_by(certificate: x509.Certificate, trust: Sequence[x509.Certificate]) -> bool:
    """Return whether one of the trusted authorities signed a certificate; its times are the caller's to judge."""
    for authority in trust:
        try:
            certificate.verify_directly_issued_by(authority)
        except (*MALFORMED, InvalidSignature):
            continue
        return True
    return False


def renew_at(certificate: x509.Certificate) -> datetime:
    """Return when a certificate is to be renewed, on the hub's clock."""
    given, ends = certificate.not_valid_before_utc + BACK_DATED, certificate.not_valid_after_utc
    return given + (ends - given) * RENEW_AFTER


def sign(key: ec.EllipticCurvePrivateKey, purpose: bytes, said: bytes) -> bytes:
    """Return a signature for one purpose."""
    return key.sign(purpose + said, ec.ECDSA(_SIGNATURE_HASH))


def is_signed(certificate: x509.Certificate, signature: bytes, purpose: bytes, said: bytes) -> bool:
    """Return whether the holder of a certificate's key signed this for this purpose."""
    try:
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signature, purpose + said, ec.ECDSA(_SIGNATURE_HASH))
    except (*MALFORMED, InvalidSignature):
        return False
    return True


def pack_proof(signature: bytes, certificate_der: bytes) -> bytes:
    """Return signature and certificate as the datagrams carry them."""
    return bytes((len(signature),)) + signature + len(certificate_der).to_bytes(2, "big") + certificate_der


def unpack_proof(packed: bytes) -> tuple[bytes, x509.Certificate] | None:
    """Return signature and certificate, without what fills the message up; None for nonsense."""
    signature = packed[1 : 1 + packed[0]] if packed else b""
    rest = packed[1 + len(signature) :]
    length = int.from_bytes(rest[:2], "big")
    if not signature or not length or len(rest) < 2 + length:
        return None
    try:
        return signature, x509.load_der_x509_certificate(rest[2 : 2 + length])
    except MALFORMED:
        return None


def _plain(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
