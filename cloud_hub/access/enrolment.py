"""How a node gets its certificates and loses them: invited by an operator, enrolled by token, renewed by its own key.

Every step is one transaction with its line in the audit trail; only hashes of secrets and keys are stored.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection
from telemed.enrolment import MALFORMED, RENEWAL, SECRET_BYTES, Refusal, is_issued_by, is_signed, node_of, secret_text
from telemed.errors import Code
from telemed.topics import NodeAddress

from cloud_hub.access import device_ca
from cloud_hub.access.device_ca import Authority, RequestUnusable
from cloud_hub.errors import BadRequest, EnrolmentRefused
from cloud_hub.store import audit_trail, node_certificates
from cloud_hub.store.accounts import AuditEntry, write_audit
from cloud_hub.store.node_certificates import CertificateRow, TokenRow

TOKEN_LIFE_NS = 10 * 60 * 10**9
NS = 10**9


@dataclass(frozen=True, slots=True)
class Rules:
    """How long what is given lasts."""

    region: str
    life: timedelta
    """Of a node's certificate."""
    grace: timedelta
    """How long after its end a certificate still lets its node renew it; then it needs a token again."""
    hub_user: str
    """Name of the hub at its broker, where a common name is all that counts: no node may bear it."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks, for the audit trail."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Given:
    """What a node gets."""

    certificate: x509.Certificate
    address: NodeAddress
    given_ns: int


class Enrolment:
    """Decides who gets a certificate; its methods run inside a transaction of the care database."""

    def __init__(
        self,
        authority: Authority,
        rules: Rules,
        now_ns: Callable[[], int],
        former: Sequence[x509.Certificate] = (),
    ) -> None:
        """Give nothing yet.

        Args:
            authority: which signs.
            rules: how long.
            now_ns: the hub's clock.
            former: earlier authorities, whose certificates are renewed all the same.
        """
        self._authority = authority
        self._trust = (authority.certificate, *former)
        self._rules = rules
        self._now_ns = now_ns

    def invite(self, connection: Connection, who: Who, address: NodeAddress) -> str:
        """Return the secret of a fresh token for a node; earlier tokens of it are worth nothing from now on.

        Raises:
            BadRequest: another region, or the hub or a node at another site bears this name.
        """
        if address.region != self._rules.region:
            raise BadRequest(f"this hub serves {self._rules.region}", ["region"])
        if address.node == self._rules.hub_user:
            raise BadRequest(f"{address.node} is the name of the hub at its broker: choose another", ["node"])
        audit_trail.hold(connection)
        now_ns, secret = self._now_ns(), secret_text(secrets.token_bytes(SECRET_BYTES))
        site = node_certificates.elsewhere(connection, address, self._too_old_ns())
        if site:
            raise BadRequest(f"{address.node} stands at {site}: revoke it first", ["node"])
        node_certificates.drop_tokens(connection, address)
        token = TokenRow(_hash_of_secret(secret), address, now_ns, now_ns + TOKEN_LIFE_NS, who.name)
        node_certificates.add_token(connection, token)
        self._audit(connection, who, "node-invite", address)
        return secret

    def enrol(self, connection: Connection, secret: str, request_der: bytes) -> Given:
        """Return the first certificate of a node; what it had before is revoked.

        Raises:
            EnrolmentRefused: the token or the request is not good, or the name is taken.
        """
        key = _key_of(request_der)
        audit_trail.hold(connection)
        token = node_certificates.token_of(connection, _hash_of_secret(secret))
        refusal = judge_token(token, _hash_of(key), self._now_ns())
        if token is None or refusal is not None:
            raise EnrolmentRefused(refusal or Refusal.TOKEN_UNKNOWN, None if token is None else token.address)
        node_certificates.bind_token(connection, token.secret_sha256, _hash_of(key))
        node_certificates.revoke(connection, token.address, self._now_ns(), "enrolled anew", _hash_of(key))
        self._audit(connection, Who(token.address.node, "node"), "node-enrol", token.address)
        return self._give(connection, key, token.address)

    def renew(self, connection: Connection, certificate_der: bytes, request_der: bytes, signature: bytes) -> Given:
        """Return the next certificate of a node for the one it has.

        Raises:
            EnrolmentRefused: that is not ours, revoked, over for too long, or was renewed for another key, or another
                has the name.
        """
        key, certificate = _key_of(request_der), self._own(certificate_der)
        if certificate is None or not is_signed(certificate, signature, RENEWAL, request_der):
            raise EnrolmentRefused(Refusal.CERTIFICATE_UNKNOWN)
        audit_trail.hold(connection)
        row = node_certificates.of_serial(connection, device_ca.serial_of(certificate))
        if row is None and _ends_ns(certificate) < self._too_old_ns():
            raise EnrolmentRefused(Refusal.CERTIFICATE_TOO_OLD, node_of(certificate))
        if row is None:
            # The hub was put back to a time before it gave this: only a person knows whether it is good.
            raise EnrolmentRefused(Refusal.CERTIFICATE_UNKNOWN, node_of(certificate))
        refusal = judge_renewal(row, _hash_of(key), self._now_ns(), self._rules.grace)
        if refusal is not None:
            raise EnrolmentRefused(refusal, row.address)
        node_certificates.note_renewal(connection, row.serial, _hash_of(key))
        self._audit(connection, Who(row.address.node, "node"), "node-renew", row.address)
        return self._give(connection, key, row.address)

    def revoke(self, connection: Connection, who: Who, address: NodeAddress, reason: str) -> int:
        """Revoke all certificates and tokens of a node; return how many certificates were not revoked before."""
        audit_trail.hold(connection)
        node_certificates.drop_tokens(connection, address)
        count = node_certificates.revoke(connection, address, self._now_ns(), reason)
        self._audit(connection, who, "node-revoke", address, reason)
        return count

    def denied(self, connection: Connection) -> dict[str, NodeAddress]:
        """Return the certificates, revoked or of the hub's name, that could be of use to somebody: number -> node."""
        rules = self._rules
        return node_certificates.denied(connection, rules.region, self._too_old_ns(), rules.hub_user)

    def _give(self, connection: Connection, key: ec.EllipticCurvePublicKey, address: NodeAddress) -> Given:
        # In the transaction that inserts: another site may have got a certificate of this name after the invitation.
        taken_at = node_certificates.elsewhere(connection, address, self._too_old_ns())
        if taken_at or address.node == self._rules.hub_user:
            raise EnrolmentRefused(Refusal.NAME_TAKEN, address)
        now_ns = self._now_ns()
        now = datetime.fromtimestamp(now_ns // NS, UTC)
        if now >= self._authority.ends:
            raise EnrolmentRefused(Refusal.AUTHORITY_ENDED, address)
        certificate = device_ca.for_node(self._authority, key, address, now, self._rules.life)
        row = CertificateRow(device_ca.serial_of(certificate), address, _hash_of(key), now_ns, _ends_ns(certificate))
        node_certificates.add(connection, row, self._too_old_ns())
        return Given(certificate, address, now_ns)

    def _too_old_ns(self) -> int:
        """Return when a certificate must have ended at the latest to be of no use to anybody."""
        return self._now_ns() - round(self._rules.grace.total_seconds()) * NS

    def _own(self, certificate_der: bytes) -> x509.Certificate | None:
        try:
            certificate = x509.load_der_x509_certificate(certificate_der)
        except MALFORMED:
            return None
        return certificate if is_issued_by(certificate, self._trust) else None

    def _audit(self, connection: Connection, who: Who, action: str, address: NodeAddress, reason: str = "") -> None:
        target = f"node/{address.site}/{address.node} {reason}".rstrip()
        entry = AuditEntry(self._now_ns(), who.name, who.role, action, target, "ok", address.region, address.site)
        write_audit(connection, entry)


def judge_token(token: TokenRow | None, key_sha256: str, now_ns: int) -> Refusal | None:
    """Return why a token does not let this key in; None where it does."""
    if token is None:
        return Refusal.TOKEN_UNKNOWN
    if token.key_sha256 not in ("", key_sha256):
        return Refusal.TOKEN_USED
    return None if token.created_ns <= now_ns < token.ends_ns else Refusal.TOKEN_EXPIRED


def judge_renewal(row: CertificateRow, key_sha256: str, now_ns: int, grace: timedelta) -> Refusal | None:
    """Return why a certificate is not renewed for this key; None where it is.

    A node makes its next key before it asks and keeps to it: another key means that a second machine holds the
    certificate, which is how a copied disk shows itself.
    """
    if row.revoked_ns:
        return Refusal.CERTIFICATE_REVOKED
    if row.next_key_sha256 not in ("", key_sha256):
        return Refusal.RENEWED_ELSEWHERE
    is_too_old = now_ns > row.ends_ns + round(grace.total_seconds()) * NS
    return Refusal.CERTIFICATE_TOO_OLD if is_too_old else None


NOTICES: dict[Refusal, Code] = {
    Refusal.RENEWED_ELSEWHERE: Code.NODE_CLONED,
    Refusal.TOKEN_USED: Code.CONNECT_REFUSED,
    Refusal.CERTIFICATE_UNKNOWN: Code.CONNECT_REFUSED,
    Refusal.CERTIFICATE_REVOKED: Code.CONNECT_REFUSED,
    Refusal.CERTIFICATE_TOO_OLD: Code.CONNECT_REFUSED,
    Refusal.NAME_TAKEN: Code.CONNECT_REFUSED,
}
"""What the operator is told of the node whose token or certificate it was."""


def _key_of(request_der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return device_ca.read_request(request_der)
    except RequestUnusable as error:
        raise EnrolmentRefused(Refusal.REQUEST_BAD) from error


def _ends_ns(certificate: x509.Certificate) -> int:
    return round(certificate.not_valid_after_utc.timestamp()) * NS


def _hash_of(key: ec.EllipticCurvePublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _hash_of_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
