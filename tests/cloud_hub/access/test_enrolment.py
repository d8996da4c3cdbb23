"""Who gets a certificate and who does not, on both databases, with a clock moved by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select
from telemed.enrolment import RENEWAL, Refusal, renew_at, sign
from telemed.topics import NodeAddress

from cloud_hub.access import device_ca
from cloud_hub.access.deny_list import DenyList
from cloud_hub.access.enrolment import TOKEN_LIFE_NS, Enrolment, Given, Rules
from cloud_hub.errors import BadRequest, EnrolmentRefused
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import audit, node_token
from tests.fakes.certificates import OPERATOR

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
HOUR_NS = 3600 * 10**9
AUTHORITY = device_ca.new_authority("baoshan")


def request_for(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whatever")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


class Desk:
    """An enrolment over a database, and what a node does with it."""

    def __init__(self, care: Database) -> None:
        self.care = care
        self.now_ns = 1_800_000_000 * 10**9
        rules = Rules("baoshan", timedelta(days=7), timedelta(days=30))
        self.enrolment = Enrolment(AUTHORITY, rules, lambda: self.now_ns)

    def do(self, work: Callable[[Any], Any]) -> Any:
        return self.care.write_blocking(work)

    def invite(self, address: NodeAddress = CLINIC) -> str:
        secret: str = self.do(lambda c: self.enrolment.invite(c, OPERATOR, address))
        return secret

    def enrol(self, secret: str, key: ec.EllipticCurvePrivateKey) -> Given:
        given: Given = self.do(lambda c: self.enrolment.enrol(c, secret, request_for(key)))
        return given

    def renew(
        self, given: Given, old: ec.EllipticCurvePrivateKey, new: ec.EllipticCurvePrivateKey, purpose: bytes = RENEWAL
    ) -> Given:
        der, request = given.certificate.public_bytes(Encoding.DER), request_for(new)
        signature = sign(old, purpose, request)
        renewed: Given = self.do(lambda c: self.enrolment.renew(c, der, request, signature))
        return renewed

    def denied(self) -> dict[str, NodeAddress]:
        found: dict[str, NodeAddress] = self.care.read_blocking(self.enrolment.denied)
        return found


@pytest.fixture
def desk(care_db: Database) -> Desk:
    return Desk(care_db)


def refused(reason: Refusal, step: Callable[[], object]) -> None:
    with pytest.raises(EnrolmentRefused) as found:
        step()
    assert found.value.reason is reason


def test_a_token_gives_one_machine_its_first_certificate(desk: Desk) -> None:
    key, thief = device_ca.new_key(), device_ca.new_key()
    secret = desk.invite()
    given = desk.enrol(secret, key)
    assert given.address == CLINIC
    assert given.certificate.public_key() == key.public_key()
    assert renew_at(given.certificate).timestamp() * 1e9 - desk.now_ns == 7 * 24 * HOUR_NS * 2 / 3
    refused(Refusal.TOKEN_USED, lambda: desk.enrol(secret, thief))


def test_an_answer_that_was_lost_can_be_asked_for_again_with_the_same_key(desk: Desk) -> None:
    key, secret = device_ca.new_key(), desk.invite()
    first, second = desk.enrol(secret, key), desk.enrol(secret, key)
    assert second.certificate.public_key() == first.certificate.public_key()
    assert not desk.denied()


def test_a_token_lasts_ten_minutes_and_a_wrong_one_not_at_all(desk: Desk) -> None:
    secret = desk.invite()
    refused(Refusal.TOKEN_UNKNOWN, lambda: desk.enrol(secret + "x", device_ca.new_key()))
    desk.now_ns += TOKEN_LIFE_NS
    refused(Refusal.TOKEN_EXPIRED, lambda: desk.enrol(secret, device_ca.new_key()))


def test_a_newer_token_of_a_node_takes_the_place_of_the_older(desk: Desk) -> None:
    older = desk.invite()
    newer = desk.invite()
    refused(Refusal.TOKEN_UNKNOWN, lambda: desk.enrol(older, device_ca.new_key()))
    assert desk.enrol(newer, device_ca.new_key()).address == CLINIC


def test_the_database_holds_no_secret(desk: Desk) -> None:
    secret = desk.invite()
    rows = desk.care.read_blocking(lambda c: c.execute(select(node_token)).all())
    assert secret not in str(rows)


def test_a_name_that_another_site_uses_is_not_given_twice(desk: Desk) -> None:
    desk.enrol(desk.invite(), device_ca.new_key())
    elsewhere = NodeAddress("baoshan", "heming-home", CLINIC.node)
    with pytest.raises(BadRequest, match="baoshan-clinic"):
        desk.invite(elsewhere)
    desk.do(lambda c: desk.enrolment.revoke(c, OPERATOR, CLINIC, "moved"))
    assert desk.enrol(desk.invite(elsewhere), device_ca.new_key()).address == elsewhere


def test_another_region_is_not_ours_to_invite(desk: Desk) -> None:
    with pytest.raises(BadRequest):
        desk.invite(NodeAddress("elsewhere", "site", "node"))


def test_a_node_renews_with_its_own_key_and_a_certificate_alone_renews_nothing(desk: Desk) -> None:
    key, fresh, thief = device_ca.new_key(), device_ca.new_key(), device_ca.new_key()
    given = desk.enrol(desk.invite(), key)
    desk.now_ns += 5 * 24 * HOUR_NS
    refused(Refusal.CERTIFICATE_UNKNOWN, lambda: desk.renew(given, thief, thief))
    refused(Refusal.CERTIFICATE_UNKNOWN, lambda: desk.renew(given, key, fresh, purpose=b"another purpose"))
    renewed = desk.renew(given, key, fresh)
    ends = renewed.certificate.not_valid_after_utc
    assert ends == datetime.fromtimestamp(desk.now_ns // 10**9, UTC) + timedelta(days=7)
    assert not desk.denied(), "the old one stays good, for an answer that was lost"


def test_a_certificate_that_somebody_made_with_the_number_of_ours_renews_nothing(desk: Desk) -> None:
    mine, key = desk.enrol(desk.invite(), device_ca.new_key()).certificate, device_ca.new_key()
    builder = x509.CertificateBuilder(
        mine.issuer,
        mine.subject,
        key.public_key(),
        mine.serial_number,
        mine.not_valid_before_utc,
        mine.not_valid_after_utc,
        list(mine.extensions),
    )
    forged = builder.sign(device_ca.new_authority("baoshan").key, hashes.SHA256())
    assert device_ca.serial_of(forged) == device_ca.serial_of(mine)
    refused(Refusal.CERTIFICATE_UNKNOWN, lambda: desk.renew(Given(forged, CLINIC, 0), key, device_ca.new_key()))


def test_a_copied_disk_shows_itself_when_both_machines_renew(desk: Desk) -> None:
    key, mine, copys = device_ca.new_key(), device_ca.new_key(), device_ca.new_key()
    given = desk.enrol(desk.invite(), key)
    desk.renew(given, key, mine)
    assert desk.renew(given, key, mine).address == CLINIC, "the same machine, whose answer was lost"
    with pytest.raises(EnrolmentRefused) as found:
        desk.renew(given, key, copys)
    assert found.value.reason is Refusal.RENEWED_ELSEWHERE
    assert found.value.address == CLINIC, "the operator is told of which node"


def test_an_ended_certificate_renews_within_its_grace_and_not_after_it(desk: Desk) -> None:
    key = device_ca.new_key()
    given = desk.enrol(desk.invite(), key)
    desk.now_ns += (7 + 30) * 24 * HOUR_NS
    first = device_ca.new_key()
    assert desk.renew(given, key, first).address == CLINIC
    desk.now_ns += 10**9
    refused(Refusal.CERTIFICATE_TOO_OLD, lambda: desk.renew(given, key, first))


def test_a_revoked_node_gets_nothing_by_its_certificate_nor_by_a_token_from_before(desk: Desk) -> None:
    key = device_ca.new_key()
    given, unused = desk.enrol(desk.invite(), key), desk.invite()
    desk.do(lambda c: desk.enrolment.revoke(c, OPERATOR, CLINIC, "stolen"))
    assert desk.denied() == {device_ca.serial_of(given.certificate): CLINIC}
    refused(Refusal.CERTIFICATE_REVOKED, lambda: desk.renew(given, key, device_ca.new_key()))
    refused(Refusal.TOKEN_UNKNOWN, lambda: desk.enrol(unused, device_ca.new_key()))
    assert desk.enrol(desk.invite(), device_ca.new_key()).address == CLINIC, "a new token lets it in again"
    assert device_ca.serial_of(given.certificate) in desk.denied(), "the stolen one stays shut out"


def test_a_node_that_enrols_anew_leaves_its_former_disk_shut_out(desk: Desk) -> None:
    former = desk.enrol(desk.invite(), device_ca.new_key())
    desk.enrol(desk.invite(), device_ca.new_key())
    assert desk.denied() == {device_ca.serial_of(former.certificate): CLINIC}


def test_what_can_be_of_no_use_to_anybody_leaves_the_list(desk: Desk) -> None:
    desk.enrol(desk.invite(), device_ca.new_key())
    desk.do(lambda c: desk.enrolment.revoke(c, OPERATOR, CLINIC, "stolen"))
    desk.now_ns += (7 + 31) * 24 * HOUR_NS
    assert not desk.denied()


def test_every_step_stands_in_the_audit_trail(desk: Desk) -> None:
    key = device_ca.new_key()
    given = desk.enrol(desk.invite(), key)
    desk.renew(given, key, device_ca.new_key())
    desk.do(lambda c: desk.enrolment.revoke(c, OPERATOR, CLINIC, "stolen"))
    query = select(audit.c.actor, audit.c.action, audit.c.object).order_by(audit.c.id)
    assert [tuple(row) for row in desk.care.read_blocking(lambda c: c.execute(query).all())] == [
        ("operator", "node-invite", "node/baoshan-clinic/edge-clinic"),
        ("edge-clinic", "node-enrol", "node/baoshan-clinic/edge-clinic"),
        ("edge-clinic", "node-renew", "node/baoshan-clinic/edge-clinic"),
        ("operator", "node-revoke", "node/baoshan-clinic/edge-clinic"),
    ]


def test_a_new_entry_of_the_deny_list_is_told_once_and_after_everybody_can_look_it_up() -> None:
    deny, told = DenyList(), list[str]()
    deny.on_change.append(lambda serials: told.append(",".join(sorted(serials))))
    deny.on_denied.append(lambda address: told.append(f"{address.node} {deny.is_denied('ab')}"))
    deny.replace({})
    deny.replace({"ab": CLINIC})
    deny.replace({"ab": CLINIC})
    assert told == ["ab", "edge-clinic True"]
    deny.replace({})
    assert not deny.is_denied("ab")
