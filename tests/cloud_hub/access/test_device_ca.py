"""What the hub's own authority signs, and what it takes for a request."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from telemed.enrolment import hub_urn, is_issued_by, node_of, urns_of
from telemed.topics import NodeAddress
from telemed.whole_files import write_whole

from cloud_hub.access import authorities, device_ca, tls
from cloud_hub.access.ca_folder import (
    AUTHORITY,
    AUTHORITY_KEY,
    CLIENT,
    CLIENT_KEY,
    LISTENERS,
    LISTENERS_KEY,
    REVOKED,
    open_folder,
)
from cloud_hub.access.device_ca import RequestUnusable
from cloud_hub.errors import ConfigRefused
from tests.fakes.certificates import a_node_certificate, malformed

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")


def test_a_node_is_named_by_its_certificate_for_seven_days() -> None:
    authority = device_ca.new_authority("baoshan")
    certificate, _ = a_node_certificate(CLINIC, authority, NOW)
    shown = device_ca.shown_by(certificate, "baoshan")
    assert shown is not None
    assert (shown.address, shown.name, shown.ends) == (CLINIC, "edge-clinic", NOW + WEEK)
    trust = [authority.certificate]
    assert device_ca.is_good(certificate, trust, NOW)
    assert device_ca.is_good(certificate, trust, NOW - timedelta(minutes=4)), "a hub whose clock was set back a little"
    assert not device_ca.is_good(certificate, trust, NOW + WEEK + timedelta(seconds=1))
    assert not device_ca.is_good(certificate, trust, NOW - timedelta(minutes=6))


def test_a_certificate_of_another_region_or_authority_shows_nobody() -> None:
    mine, other = device_ca.new_authority("baoshan"), device_ca.new_authority("baoshan")
    certificate, _ = a_node_certificate(CLINIC, other, NOW)
    assert not is_issued_by(certificate, [mine.certificate])
    assert not device_ca.is_good(certificate, [mine.certificate], NOW)
    assert device_ca.shown_by(certificate, "another-region") is None


def test_what_serves_pages_cannot_call_as_a_node_and_a_node_cannot_serve() -> None:
    authority, key = device_ca.new_authority("baoshan"), device_ca.new_key().public_key()
    pages = device_ca.for_pages(authority, key, ["home-7.local", "192.0.2.9"], NOW)
    assert not device_ca.is_good(pages, [authority.certificate], NOW)
    assert not urns_of(pages), "the page of a home node must not pass for the hub at the datagrams"
    node, _ = a_node_certificate(CLINIC, authority, NOW)
    usage = node.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_the_listeners_are_of_the_hub_at_any_date_that_a_node_may_believe_in() -> None:
    authority, key = device_ca.new_authority("baoshan"), device_ca.new_key().public_key()
    listeners = device_ca.for_listeners(authority, key, "baoshan", ["hub.example.org", "192.0.2.7"])
    for certificate in (listeners, authority.certificate):
        assert certificate.not_valid_before_utc <= datetime(1970, 1, 1, tzinfo=UTC)
        assert certificate.not_valid_after_utc.year == 9999
    assert urns_of(listeners) == [hub_urn("baoshan")]
    assert node_of(listeners) is None


def _request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.CertificateSigningRequest:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())


def test_a_request_counts_for_its_key_alone() -> None:
    key = device_ca.new_key()
    assert device_ca.read_request(_request(key).public_bytes(Encoding.DER)) == key.public_key()


def test_a_request_that_is_damaged_forged_or_for_another_kind_of_key_is_refused() -> None:
    good = _request(device_ca.new_key()).public_bytes(Encoding.DER)
    forged = good[:-1] + bytes((good[-1] ^ 1,))
    weak = _request(rsa.generate_private_key(65537, 2048)).public_bytes(Encoding.DER)
    larger = _request(ec.generate_private_key(ec.SECP384R1())).public_bytes(Encoding.DER)
    for bad in (b"", b"\x30\x03abc", good[:40], forged, weak, larger):
        with pytest.raises(RequestUnusable):
            device_ca.read_request(bad)


def test_a_request_with_a_key_of_no_known_kind_is_refused() -> None:
    good = _request(device_ca.new_key()).public_bytes(Encoding.DER)
    for known, odd in (("2a8648ce3d0201", "2a8648ce3d0209"), ("2a8648ce3d030107", "2a8648ce3d030177")):
        with pytest.raises(RequestUnusable):
            device_ca.read_request(good.replace(bytes.fromhex(known), bytes.fromhex(odd)))


def test_the_revocation_list_is_signed_and_holds_the_serial_numbers() -> None:
    authority = device_ca.new_authority("baoshan")
    certificate, _ = a_node_certificate(CLINIC, authority, NOW)
    crl = device_ca.revocation_list(authority, [device_ca.serial_of(certificate)], NOW)
    assert crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
    assert crl.is_signature_valid(authority.key.public_key())


def test_the_folder_keeps_its_authority_and_its_private_keys_private(tmp_path: Path) -> None:
    first = open_folder(tmp_path / "pki", "baoshan", ["127.0.0.1"], "hub")
    again = open_folder(tmp_path / "pki", "baoshan", ["127.0.0.1"], "hub")
    assert first.pinned == again.pinned
    assert first.listeners == again.listeners
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "pki").glob("*.key")}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3
    assert (tmp_path / "pki").stat().st_mode & 0o077 == 0


def test_a_new_name_of_the_hub_gets_a_new_certificate_of_the_same_authority(tmp_path: Path) -> None:
    first = open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    renamed = open_folder(tmp_path, "baoshan", ["hub.example.org", "127.0.0.1"], "hub")
    assert renamed.listeners != first.listeners
    assert is_issued_by(renamed.listeners, [first.authority.certificate])
    chain = x509.load_pem_x509_certificates((tmp_path / LISTENERS).read_bytes())
    assert [renamed.listeners, renamed.authority.certificate] == chain


def test_a_hub_that_was_killed_between_its_key_and_its_certificate_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, content: bytes, mode: int) -> None:
        if file.name == AUTHORITY:
            raise OSError(28, "No space left on device", str(file))
        write_whole(file, content, mode)

    monkeypatch.setattr(authorities, "write_whole", full)
    with pytest.raises(ConfigRefused, match="No space left"):
        open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    monkeypatch.undo()
    key = (tmp_path / AUTHORITY_KEY).read_bytes()
    made = open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    assert (tmp_path / AUTHORITY_KEY).read_bytes() == key
    assert made.authority.certificate.public_key() == made.authority.key.public_key()


@pytest.mark.parametrize(("key", "certificate"), [(LISTENERS_KEY, LISTENERS), (CLIENT_KEY, CLIENT)])
def test_a_key_that_was_deleted_gets_a_certificate_of_its_own_again(tmp_path: Path, key: str, certificate: str) -> None:
    open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    (tmp_path / key).unlink()
    open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / certificate, tmp_path / key)


def test_a_list_that_is_not_yet_of_this_time_or_was_signed_by_another_is_made_anew(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    folder.write_denied(frozenset({"ab"}), NOW)
    for signer, at in ((folder.authority, NOW + timedelta(days=1)), (device_ca.new_authority("baoshan"), NOW)):
        wrong = device_ca.revocation_list(signer, ["ab"], at).public_bytes(Encoding.PEM)
        folder.path(REVOKED).write_bytes(wrong)
        folder.write_denied(frozenset({"ab"}), NOW)
        assert folder.pem(REVOKED) != wrong


def test_a_key_that_others_may_read_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    (tmp_path / AUTHORITY_KEY).chmod(0o644)
    with pytest.raises(ConfigRefused, match="chmod 600"):
        open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")


def test_a_key_that_does_not_fit_or_cannot_be_read_is_refused(tmp_path: Path) -> None:
    open_folder(tmp_path / "a", "baoshan", ["127.0.0.1"], "hub")
    open_folder(tmp_path / "b", "baoshan", ["127.0.0.1"], "hub")
    (tmp_path / "a" / AUTHORITY).write_bytes((tmp_path / "b" / AUTHORITY).read_bytes())
    with pytest.raises(ConfigRefused, match=r"ca\.key is not the key"):
        open_folder(tmp_path / "a", "baoshan", ["127.0.0.1"], "hub")
    (tmp_path / "b" / AUTHORITY_KEY).write_bytes(b"garbage")
    with pytest.raises(ConfigRefused, match="cannot be read"):
        open_folder(tmp_path / "b", "baoshan", ["127.0.0.1"], "hub")


@pytest.mark.parametrize(
    "part", ["unknown kind of key", "unknown curve", "two names of the subject", "no such version"]
)
def test_a_listeners_certificate_with_a_part_that_cannot_be_read_is_refused(tmp_path: Path, part: str) -> None:
    good = open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub").listeners
    (tmp_path / LISTENERS).write_text(ssl.DER_cert_to_PEM_cert(malformed(good)[part]))
    with pytest.raises(ConfigRefused, match="cannot be read"):
        open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")


def test_a_listener_demands_a_certificate_and_tls_1_3(tmp_path: Path) -> None:
    open_folder(tmp_path, "baoshan", ["127.0.0.1"], "hub")
    context = tls.listener(tmp_path)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
