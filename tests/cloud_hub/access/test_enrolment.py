"""Who gets a certificate and who does not, on both databases, with a clock moved by hand."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, delete, func, select, text
from telemed.enrolment import RENEWAL, Refusal, is_issued_by, renew_at, sign
from telemed.topics import NodeAddress

from cloud_hub.access import device_ca
from cloud_hub.access.deny_list import DenyList
from cloud_hub.access.enrolment import NOTICES, TOKEN_LIFE_NS, Enrolment, Given, Rules, _hash_of, _hash_of_secret
from cloud_hub.errors import BadRequest, EnrolmentRefused
from cloud_hub.store import node_certificates
from cloud_hub.store.engine import Database
from cloud_hub.store.node_certificates import CertificateRow, TokenRow
from cloud_hub.store.schema import CARE, audit, node_certificate, node_token
from tests.fakes.certificates import OPERATOR, a_node_certificate

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
HOUR_NS = 3600 * 10**9
AUTHORITY = device_ca.new_authority("baoshan")
RULES = Rules("baoshan", timedelta(days=7), timedelta(days=30), "hub")


def request_for(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whatever")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


class Desk:
    """An enrolment over a database, and what a node does with it."""

    def __init__(self, care: Database) -> None:
        self.care = care
        self.now_ns = 1_800_000_000 * 10**9
        self.enrolment = Enrolment(AUTHORITY, RULES, lambda: self.now_ns)

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


def test_of_a_good_certificate_that_the_hub_has_forgotten_the_operator_is_told_which_nodes_it_is(desk: Desk) -> None:
    key = device_ca.new_key()
    given = desk.enrol(desk.invite(), key)
    # As after a backup that is older than the certificate.
    desk.do(lambda c: c.execute(delete(node_certificate)))
    with pytest.raises(EnrolmentRefused) as told:
        desk.renew(given, key, device_ca.new_key())
    assert (told.value.reason, told.value.address) == (Refusal.CERTIFICATE_UNKNOWN, CLINIC)
    assert Refusal.CERTIFICATE_UNKNOWN in NOTICES


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
        ("operator", "node-revoke", "node/baoshan-clinic/edge-clinic stolen"),
    ]


def test_a_new_entry_of_the_deny_list_is_told_once_and_after_everybody_can_look_it_up() -> None:
    deny, told = DenyList(), list[str]()
    deny.on_denied.append(lambda address: told.append(f"{address.node} {deny.is_denied('ab')}"))
    deny.replace({})
    deny.replace({"ab": CLINIC})
    deny.replace({"ab": CLINIC})
    assert told == ["edge-clinic True"]
    deny.replace({})
    assert not deny.is_denied("ab")


ELSEWHERE = NodeAddress("baoshan", "heming-home", CLINIC.node)
NAMED_HUB = NodeAddress("baoshan", "baoshan-clinic", "hub")


def test_no_node_is_named_like_the_hub_at_its_broker(desk: Desk) -> None:
    with pytest.raises(BadRequest, match="the hub at its broker"):
        desk.invite(NAMED_HUB)
    token = TokenRow(_hash_of_secret("from before"), NAMED_HUB, desk.now_ns, desk.now_ns + TOKEN_LIFE_NS, "operator")
    desk.do(lambda c: node_certificates.add_token(c, token))
    refused(Refusal.NAME_TAKEN, lambda: desk.enrol("from before", device_ca.new_key()))


def test_a_node_that_got_the_hubs_name_before_that_was_refused_is_shut_out(desk: Desk) -> None:
    key, now = device_ca.new_key(), datetime.fromtimestamp(desk.now_ns // 10**9, UTC)
    certificate = device_ca.for_node(AUTHORITY, key.public_key(), NAMED_HUB, now, timedelta(days=7))
    serial, ends_ns = device_ca.serial_of(certificate), desk.now_ns + 7 * 24 * HOUR_NS
    row = CertificateRow(serial, NAMED_HUB, _hash_of(key.public_key()), desk.now_ns, ends_ns)
    desk.do(lambda c: node_certificates.add(c, row, 0))
    assert desk.denied() == {serial: NAMED_HUB}
    refused(Refusal.NAME_TAKEN, lambda: desk.renew(Given(certificate, NAMED_HUB, 0), key, device_ca.new_key()))


def test_a_name_stays_taken_while_its_certificate_can_still_be_renewed(desk: Desk) -> None:
    key = device_ca.new_key()
    given = desk.enrol(desk.invite(), key)
    desk.now_ns += 20 * 24 * HOUR_NS
    with pytest.raises(BadRequest, match="baoshan-clinic"):
        desk.invite(ELSEWHERE)
    assert desk.renew(given, key, device_ca.new_key()).address == CLINIC


def test_of_two_sites_invited_under_one_name_the_first_to_enrol_has_it(desk: Desk) -> None:
    here, there = desk.invite(CLINIC), desk.invite(ELSEWHERE)
    key = device_ca.new_key()
    given = desk.enrol(here, key)
    refused(Refusal.NAME_TAKEN, lambda: desk.enrol(there, device_ca.new_key()))
    assert desk.renew(given, key, device_ca.new_key()).address == CLINIC
    assert desk.care.read_blocking(lambda c: node_certificates.live_nodes(c, "baoshan", desk.now_ns)) == [CLINIC]
    desk.now_ns += 8 * 24 * HOUR_NS
    assert not desk.care.read_blocking(lambda c: node_certificates.live_nodes(c, "baoshan", desk.now_ns))


def test_certificates_that_are_of_no_use_to_anybody_are_swept_out_and_still_answered(desk: Desk) -> None:
    key = device_ca.new_key()
    given = desk.enrol(desk.invite(), key)
    desk.now_ns += (7 + 30) * 24 * HOUR_NS + 10**9
    desk.enrol(desk.invite(NodeAddress("baoshan", "heming-home", "edge-home")), device_ca.new_key())
    count = select(func.count()).select_from(node_certificate)
    assert desk.care.read_blocking(lambda c: c.execute(count).scalar()) == 1
    with pytest.raises(EnrolmentRefused) as found:
        desk.renew(given, key, device_ca.new_key())
    assert (found.value.reason, found.value.address) == (Refusal.CERTIFICATE_TOO_OLD, CLINIC)


def test_of_each_node_the_newest_certificate_is_shown(desk: Desk) -> None:
    key = device_ca.new_key()
    home = NodeAddress("baoshan", "heming-home", "edge-home")
    desk.enrol(desk.invite(home), device_ca.new_key())
    first = desk.enrol(desk.invite(), key)
    at_once = desk.renew(first, key, device_ca.new_key())
    rows = desk.care.read_blocking(lambda c: node_certificates.newest(c, "baoshan"))
    assert [row.address for row in rows] == [CLINIC, home], "one each, even of two that were given in one moment"
    desk.now_ns += HOUR_NS
    later = desk.enrol(desk.invite(), device_ca.new_key())
    assert later.certificate != at_once.certificate
    rows = desk.care.read_blocking(lambda c: node_certificates.newest(c, "baoshan"))
    assert rows[0].serial == device_ca.serial_of(later.certificate)
    desk.do(lambda c: desk.enrolment.revoke(c, OPERATOR, CLINIC, "stolen"))
    assert desk.care.read_blocking(lambda c: node_certificates.live_nodes(c, "baoshan", desk.now_ns)) == [home]


@pytest.fixture
def other(store_url: Callable[[str], str], desk: Desk) -> Any:
    """The same database, as another process has it; on PostgreSQL alone, where two may write at a time."""
    if not desk.care.is_postgres:
        pytest.skip("SQLite has one writer")
    database = Database(store_url("care"), CARE, "care")
    made = Desk(database)
    made.now_ns = desk.now_ns
    yield made
    database.close()


def at_the_same_moment(desk: Desk, first: Callable[[Connection], object], second: Callable[[], object]) -> None:
    """Run `second` in another transaction, up to where it waits, before the transaction of `first` ends."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    is_done, poll = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        first(connection)
        is_done.set()
        while not desk.care.read_blocking(lambda c: c.execute(waiting).scalar()):
            poll.wait(0.01)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(lambda: desk.do(hold))
        assert is_done.wait(10)
        try:
            second()
        finally:
            held.result(10)


def test_a_renewal_at_the_moment_of_a_revocation_leaves_no_good_certificate(desk: Desk, other: Desk) -> None:
    key = device_ca.new_key()
    given = desk.enrol(desk.invite(), key)

    def revoke(connection: Connection) -> None:
        desk.enrolment.revoke(connection, OPERATOR, CLINIC, "stolen")

    def renew() -> None:
        refused(Refusal.CERTIFICATE_REVOKED, lambda: other.renew(given, key, device_ca.new_key()))

    at_the_same_moment(desk, revoke, renew)
    assert not desk.care.read_blocking(lambda c: node_certificates.live_nodes(c, "baoshan", desk.now_ns))


def test_a_revocation_at_the_moment_of_a_renewal_revokes_what_was_just_given(desk: Desk, other: Desk) -> None:
    key = device_ca.new_key()
    given, request = desk.enrol(desk.invite(), key), request_for(device_ca.new_key())
    shown, signature = given.certificate.public_bytes(Encoding.DER), sign(key, RENEWAL, request)

    def revoke() -> None:
        other.do(lambda c: other.enrolment.revoke(c, OPERATOR, CLINIC, "stolen"))

    at_the_same_moment(desk, lambda c: desk.enrolment.renew(c, shown, request, signature), revoke)
    assert not desk.care.read_blocking(lambda c: node_certificates.live_nodes(c, "baoshan", desk.now_ns))


def test_of_two_sites_that_enrol_under_one_name_at_the_same_moment_one_has_it(desk: Desk, other: Desk) -> None:
    here, there, request = desk.invite(CLINIC), desk.invite(ELSEWHERE), request_for(device_ca.new_key())

    def enrol_too() -> None:
        refused(Refusal.NAME_TAKEN, lambda: other.enrol(there, device_ca.new_key()))

    at_the_same_moment(desk, lambda c: desk.enrolment.enrol(c, here, request), enrol_too)


def test_of_two_invitations_at_the_same_moment_the_later_counts(desk: Desk, other: Desk) -> None:
    secrets = list[str]()

    def invite(connection: Connection) -> None:
        secrets.append(desk.enrolment.invite(connection, OPERATOR, CLINIC))

    at_the_same_moment(desk, invite, lambda: secrets.append(other.invite()))
    earlier, later = secrets
    refused(Refusal.TOKEN_UNKNOWN, lambda: desk.enrol(earlier, device_ca.new_key()))
    desk.enrol(later, device_ca.new_key())


def test_a_token_that_two_machines_show_at_the_same_moment_serves_one(desk: Desk, other: Desk) -> None:
    secret, request = desk.invite(), request_for(device_ca.new_key())

    def enrol_too() -> None:
        refused(Refusal.TOKEN_USED, lambda: other.enrol(secret, device_ca.new_key()))

    at_the_same_moment(desk, lambda c: desk.enrolment.enrol(c, secret, request), enrol_too)


def test_an_authority_that_has_ended_gives_no_certificate_and_what_it_gave_before_ends_with_it(desk: Desk) -> None:
    now = datetime.fromtimestamp(desk.now_ns // 10**9, UTC)
    above = a_node_certificate(CLINIC, AUTHORITY, now, timedelta(days=3))[0]
    desk.enrolment = Enrolment(replace(AUTHORITY, chain=(above,)), RULES, lambda: desk.now_ns)
    first, second = device_ca.new_key(), device_ca.new_key()
    given = desk.enrol(desk.invite(), first)
    assert given.certificate.not_valid_after_utc == above.not_valid_after_utc
    desk.now_ns += 3 * 24 * 3600 * 10**9
    with pytest.raises(EnrolmentRefused) as refused:
        desk.renew(given, first, second)
    assert refused.value.reason is Refusal.AUTHORITY_ENDED


def test_a_certificate_of_an_earlier_authority_is_renewed_by_its_successor(desk: Desk) -> None:
    first, second, third = (device_ca.new_key() for _ in range(3))
    given, successor = desk.enrol(desk.invite(), first), device_ca.new_authority("baoshan", number=2)
    desk.enrolment = Enrolment(successor, RULES, lambda: desk.now_ns, [AUTHORITY.certificate])
    renewed = desk.renew(given, first, second)
    assert is_issued_by(renewed.certificate, [successor.certificate])
    desk.enrolment = Enrolment(successor, RULES, lambda: desk.now_ns)
    with pytest.raises(EnrolmentRefused) as refused:
        desk.renew(given, first, second)
    assert refused.value.reason is Refusal.CERTIFICATE_UNKNOWN
    assert desk.renew(renewed, second, third)
