"""The authorities of a hub's folder: one below an organisation's, a successor, and a crash between any two steps."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.enrolment import is_issued_by
from telemed.whole_files import destroy, write_whole

from cloud_hub.access import authorities, device_ca, tls
from cloud_hub.access.authorities import REQUESTED_KEY, Elsewhere, private_pem
from cloud_hub.access.authority_chain import ChainUnusable, Names
from cloud_hub.access.ca_folder import (
    AUTHORITY,
    AUTHORITY_KEY,
    BROKERS,
    CLIENT,
    LISTENERS,
    LISTENERS_KEY,
    PAGES,
    REVOKED,
    TRUSTED,
    CaFolder,
    open_folder,
)
from cloud_hub.errors import ConfigRefused
from tests.fakes.certificates import a_node_certificate
from tests.fakes.containers import CLINIC
from tests.fakes.organisation import Organisation, needs_openssl

NOW = datetime.now(UTC)
HOSTS = ("hub.example.org", "127.0.0.1")
NAMES = Names("baoshan", HOSTS, "hub")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Organisation:
    return Organisation(tmp_path_factory.mktemp("hospital") / "ca")


def opened(folder: Path, elsewhere: Elsewhere | None = None) -> CaFolder:
    return open_folder(folder, "baoshan", HOSTS, "hub", elsewhere)


def installed(folder: Path, hospital: Organisation) -> None:
    """Have the hospital sign this hub's authority, and put that in place."""
    hospital.join(folder, HOSTS)


def put(folder: Path, chain: bytes) -> None:
    """Put in place what an organisation signed."""
    authorities.install(folder, chain, NAMES, datetime.now(UTC))


def issuers(hub: CaFolder) -> list[str]:
    """By whom nodes, what nodes see, and what the broker sees are signed."""
    client = x509.load_pem_x509_certificate(hub.pem(CLIENT))
    names = (hub.authority.certificate.subject, hub.listeners.issuer, client.issuer)
    return [name.rfc4514_string().partition(",")[0] for name in names]


@needs_openssl
def test_a_hub_below_an_organisation_shows_its_whole_chain_and_trusts_its_own_key_alone(
    tmp_path: Path, hospital: Organisation
) -> None:
    installed(tmp_path / "pki", hospital)
    hub = opened(tmp_path / "pki")
    assert hub.number == 1
    assert hub.trusted == (hub.authority.certificate,)
    assert hub.authority.certificate.subject == hub.authority.certificate.issuer
    assert hub.pinned == hub.known[-1].sha256
    shown = x509.load_pem_x509_certificates(hub.pem(LISTENERS))
    assert shown == [hub.listeners, *hub.authority.chain[:2], hub.authority.certificate]
    hub.keep_pages(HOSTS, NOW)
    assert hospital.verifies(hub.path(LISTENERS))
    assert hospital.verifies(hub.path(PAGES))
    assert not hub.path(REQUESTED_KEY).exists(), "the key has its name now"
    again = opened(tmp_path / "pki")
    assert (again.listeners, again.trusted, again.authority.chain) == (hub.listeners, hub.trusted, hub.authority.chain)


@needs_openssl
def test_the_key_stays_and_the_same_is_asked_for_until_it_is_signed(tmp_path: Path) -> None:
    first, again = (authorities.request(tmp_path, "baoshan", same_key=False) for _ in range(2))
    assert x509.load_pem_x509_csr(first).public_key() == x509.load_pem_x509_csr(again).public_key()
    assert b"PRIVATE" not in first
    assert (tmp_path / REQUESTED_KEY).stat().st_mode & 0o777 == 0o600


@needs_openssl
def test_what_is_not_good_is_refused_and_changes_nothing(tmp_path: Path, hospital: Organisation) -> None:
    before = opened(tmp_path)
    with pytest.raises(ChainUnusable, match="for the key"):
        put(tmp_path, hospital.sign(authorities.request(tmp_path / "b", "x", same_key=False)))
    bad = hospital.sign(authorities.request(tmp_path, "baoshan", same_key=False), ("basicConstraints = CA:FALSE",))
    with pytest.raises(ChainUnusable, match="CA:TRUE"):
        put(tmp_path, bad)
    assert opened(tmp_path).trusted == before.trusted


@needs_openssl
def test_an_organisation_may_sign_the_key_and_name_that_issue_already_and_again_before_its_end(
    tmp_path: Path, hospital: Organisation
) -> None:
    before = opened(tmp_path)
    for _ in range(2):
        chain = hospital.sign(authorities.request(tmp_path, "baoshan", same_key=True))
        put(tmp_path, chain)
        hub = opened(tmp_path)
        assert (hub.number, hub.trusted, hub.pinned) == (1, before.trusted, before.pinned), "nodes need not be told"
        assert hub.authority.chain[0].public_bytes(Encoding.PEM) in chain
        assert hospital.verifies(hub.path(LISTENERS))


@needs_openssl
def test_a_node_of_another_department_s_hub_is_a_stranger(tmp_path: Path, hospital: Organisation) -> None:
    installed(tmp_path, hospital)
    theirs, _ = a_node_certificate(CLINIC, hospital.another("baoshan"))
    hub = opened(tmp_path)
    assert theirs.issuer == hub.authority.certificate.subject, "called as ours"
    assert not device_ca.is_good(theirs, hub.trusted, NOW)


@needs_openssl
def test_a_name_that_the_organisation_does_not_permit_is_refused_at_the_next_start(
    tmp_path: Path, hospital: Organisation
) -> None:
    constrained = "nameConstraints = critical, permitted;DNS:example.org"
    request = authorities.request(tmp_path, "baoshan", same_key=False)
    put(tmp_path, hospital.sign(request, (*_subordinate(), constrained)))
    opened(tmp_path)
    with pytest.raises(ConfigRefused, match="name constraints"):
        open_folder(tmp_path, "baoshan", ["hub.elsewhere.example"], "hub")


def _subordinate() -> tuple[str, ...]:
    return "basicConstraints = critical, CA:TRUE", "keyUsage = critical, keyCertSign, cRLSign"


@needs_openssl
def test_an_authority_that_the_configuration_names_is_taken_in_and_its_key_stays_where_it_is(
    tmp_path: Path, hospital: Organisation
) -> None:
    elsewhere = made_elsewhere(tmp_path / "first", hospital)
    hub = opened(tmp_path / "pki", elsewhere)
    assert hospital.verifies(hub.path(LISTENERS))
    assert not (tmp_path / "pki" / AUTHORITY_KEY).exists()
    assert opened(tmp_path / "pki", elsewhere).trusted == hub.trusted
    second = opened(tmp_path / "pki", made_elsewhere(tmp_path / "second", hospital))
    assert second.trusted[1:] == hub.trusted, "another one is a successor"
    assert second.pinned == hub.pinned
    assert second.listeners == hub.listeners


def made_elsewhere(folder: Path, hospital: Organisation) -> Elsewhere:
    folder.mkdir(parents=True)
    made = Elsewhere(folder / "chain.pem", folder / "authority.key")
    key = device_ca.new_key()
    write_whole(made.key_file, private_pem(key), 0o600)
    request = device_ca.request_of("baoshan", key, 1).public_bytes(Encoding.PEM)
    made.chain_file.write_bytes(hospital.sign(request, subject=f"/CN={folder.name}"))
    return made


@needs_openssl
def test_a_named_authority_that_cannot_be_used_is_refused_and_not_taken_in(
    tmp_path: Path, hospital: Organisation
) -> None:
    made = made_elsewhere(tmp_path / "made", hospital)
    good, key = made.chain_file.read_bytes(), authorities.read_key(made.key_file)
    request = device_ca.request_of("baoshan", key, 1).public_bytes(Encoding.PEM)
    none = hospital.sign(request, ("basicConstraints = CA:FALSE",))
    for spoil, why in (
        (lambda: made.chain_file.write_bytes(none), "CA:TRUE is missing"),
        (lambda: made.key_file.chmod(0o640), "chmod 600"),
        (lambda: made.chain_file.write_bytes(good[: len(good) // 3]), "is missing"),
        (lambda: made.key_file.write_bytes(private_pem(device_ca.new_key())), "none of its certificates"),
        (lambda: made.key_file.write_bytes(b"nonsense"), "no key without a password"),
        (made.key_file.unlink, "authority.key: No such file"),
    ):
        spoil()
        with pytest.raises(ConfigRefused, match=why):
            opened(tmp_path / "pki", made)
        made.key_file.touch()
        made.key_file.chmod(0o600)
    assert not (tmp_path / "pki" / AUTHORITY).exists()


def test_a_successor_signs_nodes_while_what_the_hub_shows_stays_of_the_one_that_every_node_knows(
    tmp_path: Path,
) -> None:
    before = opened(tmp_path)
    assert authorities.add_next(tmp_path, "baoshan") == 2
    both = opened(tmp_path)
    assert issuers(both) == [
        "CN=Yuanzhen baoshan device CA 2",
        "CN=Yuanzhen baoshan device CA",
        "CN=Yuanzhen baoshan device CA 2",
    ]
    assert both.trusted == (both.authority.certificate, before.authority.certificate)
    assert (both.listeners, both.pinned) == (before.listeners, before.pinned)
    assert authorities.retire(tmp_path) == [1]
    after = opened(tmp_path)
    assert issuers(after) == ["CN=Yuanzhen baoshan device CA 2"] * 3
    assert after.trusted == (both.authority.certificate,)
    assert after.pinned == both.known[-1].sha256 != before.pinned
    assert not (tmp_path / AUTHORITY_KEY).exists(), "its key is destroyed"


def test_listeners_trust_both_while_both_count(tmp_path: Path) -> None:
    opened(tmp_path)
    authorities.add_next(tmp_path, "baoshan")
    hub = opened(tmp_path)
    assert len(tls.listener(tmp_path).get_ca_certs()) == len(tls.client(tmp_path).get_ca_certs()) == 2
    hub.write_denied(frozenset({"ab"}), NOW)
    ends = b"-----END X509 CRL-----\n"
    lists = [x509.load_pem_x509_crl(each + ends) for each in hub.pem(REVOKED).split(ends)[:-1]]
    assert {each.issuer for each in lists} == {each.subject for each in hub.trusted}
    kept = hub.pem(REVOKED)
    hub.write_denied(frozenset({"ab"}), NOW)
    assert hub.pem(REVOKED) == kept
    hub.write_denied(frozenset({"ab", "cd"}), NOW)
    assert hub.pem(REVOKED).count(ends) == 2


def test_a_lost_key_is_no_end_where_a_successor_is_made(tmp_path: Path) -> None:
    before = opened(tmp_path)
    before.write_denied(frozenset({"ab"}), NOW)
    (tmp_path / AUTHORITY_KEY).unlink()
    with pytest.raises(ConfigRefused, match="cloud-hub authority next"):
        opened(tmp_path)
    authorities.add_next(tmp_path, "baoshan")
    after = opened(tmp_path)
    assert after.listeners == before.listeners, "by which nodes know the hub when they renew"
    assert after.trusted[1:] == before.trusted
    after.write_denied(frozenset({"ab", "cd"}), NOW)
    assert after.pem(REVOKED).count(b"BEGIN") == 2, "the lost one's last list stays"
    after.keep_pages(HOSTS, NOW)
    with pytest.raises(ConfigRefused, match=r"put pki\.names back"):
        open_folder(tmp_path, "baoshan", ["another.example"], "hub")
    authorities.retire(tmp_path)
    assert is_issued_by(opened(tmp_path).listeners, [after.authority.certificate])


def test_a_broker_that_reads_lists_trusts_no_authority_that_can_list_no_more_who_was_revoked_since(
    tmp_path: Path,
) -> None:
    first = opened(tmp_path)
    first.write_denied(frozenset({"a1"}), NOW)
    authorities.add_next(tmp_path, "baoshan")
    authorities.note_began(tmp_path, 2, 1_000)
    (tmp_path / AUTHORITY_KEY).unlink()
    hub, issued_ns = opened(tmp_path), {"a1": 10, "a2": 1_000, "b1": 1_001}
    both, newest = list(hub.trusted), [hub.authority.certificate]

    def denied(*serials: str) -> tuple[tuple[int, ...], list[x509.Certificate]]:
        return hub.write_denied(frozenset(serials), NOW, issued_ns), x509.load_pem_x509_certificates(hub.pem(BROKERS))

    assert denied("a1", "b1") == ((), both), "the successor's own list has the other"
    assert denied("a1", "a2") == ((1,), newest)
    assert denied("a1") == ((), both), "it has ended meanwhile"
    assert denied("a1", "c1") == ((1,), newest), "it may be anybody's"
    (tmp_path / "ca-2.began").write_text("damaged")
    assert denied("a1", "b1") == ((1,), newest), "nobody knows any more whose it is"
    authorities.note_began(tmp_path, 2, 1_000)
    hub.path(REVOKED).unlink()
    assert denied("a1") == ((1,), newest), "its last list is gone"
    assert x509.load_pem_x509_certificates(hub.pem(TRUSTED)) == both


def test_a_list_that_is_damaged_takes_no_other_with_it(tmp_path: Path) -> None:
    opened(tmp_path)
    authorities.add_next(tmp_path, "baoshan")
    opened(tmp_path).write_denied(frozenset({"ab"}), NOW)
    (tmp_path / AUTHORITY_KEY).unlink()
    hub = opened(tmp_path)
    good = hub.pem(REVOKED)
    hub.path(REVOKED).write_bytes(good[:-200] + b"!" * 100 + good[-100:])
    hub.write_denied(frozenset({"ab"}), NOW)
    assert hub.pem(REVOKED).count(b"BEGIN") == 2, "the one without a key stays, the other is made anew"


def test_a_former_authority_s_own_listeners_are_made_for_new_names_as_long_as_its_key_is_there(tmp_path: Path) -> None:
    before = opened(tmp_path)
    authorities.add_next(tmp_path, "baoshan")
    renamed = open_folder(tmp_path, "baoshan", ["new.example.org"], "hub")
    assert is_issued_by(renamed.listeners, [before.authority.certificate])


@needs_openssl
def test_pages_are_of_a_successor_once_the_authority_that_nodes_know_has_ended(
    tmp_path: Path, hospital: Organisation
) -> None:
    put(tmp_path, hospital.sign(authorities.request(tmp_path, "baoshan", same_key=False), days=(-1, 3)))
    hub, later = opened(tmp_path), NOW + timedelta(days=4)
    with pytest.raises(Exception, match="needs a successor"):
        hub.keep_pages(HOSTS, later)
    authorities.add_next(tmp_path, "baoshan")
    both = opened(tmp_path)
    both.keep_pages(HOSTS, later)
    assert is_issued_by(x509.load_pem_x509_certificate(both.pem(PAGES)), [both.authority.certificate])


def _next(folder: Path, _hospital: Organisation) -> None:
    authorities.add_next(folder, "baoshan")


def _retire(folder: Path, _hospital: Organisation) -> None:
    authorities.retire(folder)


@needs_openssl
@pytest.mark.parametrize("work", [installed, _next, _retire])
def test_a_crash_between_any_two_steps_leaves_a_folder_that_opens_and_the_work_can_be_done_again(
    tmp_path: Path, hospital: Organisation, monkeypatch: pytest.MonkeyPatch, work: Callable[[Path, Organisation], None]
) -> None:
    """Every write and deletion is a step; the process dies after each of them in turn."""
    steps, is_dying = 0, True
    while is_dying:
        folder = tmp_path / str(steps)
        opened(folder)
        if work is _retire:
            authorities.add_next(folder, "baoshan")
            opened(folder)
        with monkeypatch.context() as patched:
            _die_after([steps], patched)
            try:
                work(folder, hospital)
                is_dying = False
            except _Died:
                steps += 1
        _is_whole(opened(folder))
        work(folder, hospital)
        again = opened(folder)
        _is_whole(again)
        assert bool(again.former) is (work is not _retire)
        assert len(list(folder.glob("ca*.key"))) == len(again.trusted), "no key is left of one that does not count"
    assert steps > 2


def _is_whole(hub: CaFolder) -> None:
    """Whether everything in a folder fits together."""
    assert is_issued_by(hub.listeners, [hub.trusted[-1]])
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(hub.path(LISTENERS), hub.path(LISTENERS_KEY))
    assert hub.authority.certificate.public_key() == hub.authority.key.public_key()
    assert is_issued_by(x509.load_pem_x509_certificate(hub.pem(CLIENT)), [hub.authority.certificate])
    assert x509.load_pem_x509_certificates(hub.pem(TRUSTED)) == list(hub.trusted)
    assert hub.former or hub.number == 1 or not hub.path(AUTHORITY_KEY).exists(), "a key of one that is trusted no more"


class _Died(BaseException):
    """The process is gone."""


def _die_after(left: list[int], patched: pytest.MonkeyPatch) -> None:
    def counted(step: Callable[..., None]) -> Callable[..., None]:
        def once(*given: object, **named: object) -> None:
            if left[0] == 0:
                raise _Died
            left[0] -= 1
            step(*given, **named)

        return once

    patched.setattr(authorities, "write_whole", counted(write_whole))
    patched.setattr(authorities, "destroy", counted(destroy))
    patched.setattr(Path, "unlink", counted(Path.unlink))
