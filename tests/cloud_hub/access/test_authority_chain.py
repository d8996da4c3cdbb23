"""What an organisation's authority signed is judged before it is put in place; the organisation is openssl."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cloud_hub.access import authority_chain, device_ca
from cloud_hub.access.authority_chain import ChainUnusable, Names
from cloud_hub.access.device_ca import Authority
from tests.fakes.organisation import SUBORDINATE, Organisation, needs_openssl

pytestmark = needs_openssl
NAMES = Names("baoshan", ("hub.example.org", "192.0.2.7", "localhost", "127.0.0.1"), "hub")
CA, USAGE = SUBORDINATE[0], SUBORDINATE[1]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Organisation:
    return Organisation(tmp_path_factory.mktemp("hospital") / "ca")


def asked(key: ec.EllipticCurvePrivateKey) -> bytes:
    return device_ca.request_of("baoshan", key, 1).public_bytes(Encoding.PEM)


def signed(
    hospital: Organisation,
    *more: str,
    lines: tuple[str, ...] = SUBORDINATE,
    subject: str = "",
    days: tuple[int, int] = (-1, 1825),
) -> Authority:
    """The authority that the hospital made of a request."""
    key = device_ca.new_key()
    pem = hospital.sign(asked(key), (*lines, *more), subject, days)
    return device_ca.below(authority_chain.read_chain(pem, key.public_key()), key)


def test_openssl_reads_in_the_request_what_is_wanted(hospital: Organisation) -> None:
    request = x509.load_pem_x509_csr(asked(device_ca.new_key()))
    basic = request.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = request.extensions.get_extension_for_class(x509.KeyUsage)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
    assert request.is_signature_valid


def test_what_it_signs_is_followed_up_to_the_root_by_openssl(hospital: Organisation, tmp_path: Path) -> None:
    authority, now = signed(hospital), datetime.now(UTC)
    authority_chain.judge(authority, NAMES)
    authority_chain.judge_time(authority.chain, now)
    key = device_ca.new_key().public_key()
    for leaf in (
        device_ca.for_listeners(authority, key, "baoshan", NAMES.hosts),
        device_ca.for_pages(authority, key, NAMES.hosts, now),
        device_ca.for_hub_client(authority, key, "baoshan", "hub"),
    ):
        chain = tmp_path / "chain.pem"
        chain.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in (leaf, *authority.shown)))
        assert hospital.verifies(chain)


def test_the_order_of_a_chain_is_free_and_others_certificates_in_it_do_not_matter(hospital: Organisation) -> None:
    key = device_ca.new_key()
    given = x509.load_pem_x509_certificates(hospital.sign(asked(key)))
    stranger = device_ca.new_authority("elsewhere").certificate
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in (stranger, *reversed(given)))
    assert authority_chain.read_chain(pem, key.public_key()) == tuple(given)


def test_of_a_middle_authority_that_two_roots_have_signed_the_way_is_found_whose_root_is_given(
    hospital: Organisation, tmp_path: Path
) -> None:
    key = device_ca.new_key()
    own, middle, root = x509.load_pem_x509_certificates(hospital.sign(asked(key)))
    merged = Organisation(tmp_path / "merged", path_length=2)
    request = (hospital.folder / "middle.csr").read_bytes()
    crossed, group, group_root = x509.load_pem_x509_certificates(merged.sign(request, (CA, *SUBORDINATE[1:])))
    for order in permutations((own, middle, crossed, group, root)):
        pem = b"".join(each.public_bytes(Encoding.PEM) for each in order)
        assert authority_chain.read_chain(pem, key.public_key()) == (own, middle, root)
    for order in permutations((own, middle, crossed, group, group_root)):
        pem = b"".join(each.public_bytes(Encoding.PEM) for each in order)
        assert authority_chain.read_chain(pem, key.public_key()) == (own, crossed, group, group_root)


def test_a_chain_that_is_not_whole_or_for_another_key_is_refused_with_what_is_missing(hospital: Organisation) -> None:
    key = device_ca.new_key()
    given = [each.public_bytes(Encoding.PEM) for each in x509.load_pem_x509_certificates(hospital.sign(asked(key)))]
    for pem, why in (
        (given[0] + given[2], "CN=Hospital IT,O=Hospital is missing"),
        (given[0] + given[1], "CN=Hospital Root,O=Hospital is missing"),
        (given[1] + given[2], "none of its certificates is for the key"),
        (b"nonsense", "no certificates in PEM form"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
    ):
        with pytest.raises(ChainUnusable, match=why):
            authority_chain.read_chain(pem, key.public_key())


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (("basicConstraints = critical, CA:FALSE", USAGE), "CA:TRUE is missing"),
        ((USAGE,), "CA:TRUE is missing"),
        ((CA,), "keyCertSign, cRLSign"),
        ((CA, "keyUsage = critical, keyCertSign"), "keyCertSign, cRLSign"),
        ((CA, "keyUsage = critical, digitalSignature, cRLSign"), "keyCertSign, cRLSign"),
        ((*SUBORDINATE, "extendedKeyUsage = serverAuth"), "not for both servers and clients"),
        ((*SUBORDINATE, "nameConstraints = critical, permitted;DNS:elsewhere.example"), "permits"),
        ((*SUBORDINATE, "nameConstraints = critical, permitted;IP:198.51.100.0/255.255.255.0"), "permits"),
        ((*SUBORDINATE, "nameConstraints = critical, excluded;DNS:example.org"), "excludes"),
        ((*SUBORDINATE, "nameConstraints = critical, permitted;URI:.example.org"), "urn:yuanzhen:"),
        ((*SUBORDINATE, "1.2.3.4 = critical, ASN1:NULL"), "unhandled critical extension"),
    ],
)
def test_what_would_make_our_certificates_worthless_is_refused_in_plain_words(
    hospital: Organisation, lines: tuple[str, ...], why: str
) -> None:
    with pytest.raises(ChainUnusable, match=why):
        authority_chain.judge(signed(hospital, lines=lines), NAMES)


def test_constraints_that_permit_our_names_and_purposes_for_both_are_taken(hospital: Organisation) -> None:
    named = "nameConstraints = critical, permitted;DNS:example.org, permitted;DNS:localhost"
    authority = signed(hospital, named, "extendedKeyUsage = serverAuth, clientAuth")
    authority_chain.judge(authority, NAMES)


def test_an_authority_above_that_allows_none_below_is_found(tmp_path: Path) -> None:
    strict = Organisation(tmp_path / "ca", path_length=0)
    with pytest.raises(ChainUnusable, match="path length"):
        authority_chain.judge(signed(strict), NAMES)


def test_a_period_that_is_over_or_to_come_is_said_with_its_certificate(hospital: Organisation) -> None:
    now = datetime.now(UTC)
    for days, why in (((-20, -10), "device CA ended"), ((10, 20), "begins at")):
        with pytest.raises(ChainUnusable, match=why):
            authority_chain.judge_time(signed(hospital, days=days).chain, now)
    with pytest.raises(ChainUnusable, match="do not overlap"):
        authority_chain.judge(signed(hospital, days=(-20, -10)), NAMES)


def test_a_name_so_long_that_proofs_fit_no_datagram_is_refused(hospital: Organisation) -> None:
    fits = signed(hospital, subject=f"/O={'o' * 60}/CN={'c' * 60}")
    authority_chain.judge(fits, NAMES)
    many = Names("baoshan", (*NAMES.hosts, *(f"{'h' * 50}{n}.example.org" for n in range(9))), "hub")
    with pytest.raises(ChainUnusable, match="bytes too long"):
        authority_chain.judge(fits, many)


def test_another_key_identifier_than_the_usual_is_taken_over(hospital: Organisation, tmp_path: Path) -> None:
    own = "subjectKeyIdentifier = 0102030405060708"
    authority = signed(hospital, lines=(CA, USAGE, own, SUBORDINATE[3]))
    authority_chain.judge(authority, NAMES)
    leaf = device_ca.for_listeners(authority, device_ca.new_key().public_key(), "baoshan", ["127.0.0.1"])
    issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert issuer.key_identifier == bytes(range(1, 9))


def test_nothing_is_given_beyond_the_authority_s_end(hospital: Organisation) -> None:
    authority, now = signed(hospital, days=(-1, 3)), datetime.now(UTC)
    key = device_ca.new_key().public_key()
    node = device_ca.for_node(authority, key, authority_chain._longest_node("baoshan"), now, timedelta(days=7))
    pages = device_ca.for_pages(authority, key, ["hub.example.org"], now)
    assert node.not_valid_after_utc == pages.not_valid_after_utc == authority.ends
