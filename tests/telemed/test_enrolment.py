"""The token line, the names in certificates, and what a signature is good for."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.enrolment import (
    DATAGRAM_HUB,
    DATAGRAM_NODE,
    REFUSALS,
    Refusal,
    Token,
    is_issued_by,
    is_signed,
    node_of,
    pack_proof,
    parse_token,
    sign,
    unpack_proof,
    urns_of,
)
from telemed.topics import NodeAddress

from cloud_hub.access import device_ca
from tests.fakes.certificates import a_node_certificate, malformed

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")


@pytest.mark.parametrize("host", ["hub.example.org", "192.0.2.7", "2001:db8::7"])
def test_a_token_survives_being_written_down(host: str) -> None:
    token = Token(host, 8445, CLINIC, "s3cret", bytes(range(32)))
    assert parse_token(f"  {token.text()}\n") == token


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://hub/a/b/c#s.x",
        "yuanzhen://hub:8445/baoshan/clinic/edge#secret.tooshort",
        "yuanzhen://hub:8445/baoshan/edge#secret." + "A" * 43,
        "yuanzhen://hub/baoshan/clinic/edge#secret." + "A" * 43,
        "yuanzhen://hub:99999/baoshan/clinic/edge#secret." + "A" * 43,
        "yuanzhen://hub:8445/baoshan/Clinic!/edge#secret." + "A" * 43,
        "yuanzhen://hub:8445/baoshan/clinic/edge#." + "A" * 43,
        "yuanzhen://hub:8445/baoshan/clinic/edge#secret.Ä",
    ],
)
def test_what_is_no_token_is_refused_without_repeating_its_secret(text: str) -> None:
    with pytest.raises(ValueError, match="no token") as refused:
        parse_token(text)
    assert "secret" not in str(refused.value)


def test_a_token_that_is_printed_for_debugging_does_not_show_its_secret() -> None:
    assert "s3cret" not in repr(Token("hub", 1, CLINIC, "s3cret", bytes(32)))


def test_a_signature_for_one_purpose_is_worth_nothing_for_another() -> None:
    certificate, key = a_node_certificate(CLINIC)
    signature = sign(key, DATAGRAM_NODE, b"binding")
    assert is_signed(certificate, signature, DATAGRAM_NODE, b"binding")
    assert not is_signed(certificate, signature, DATAGRAM_HUB, b"binding")
    assert not is_signed(certificate, signature, DATAGRAM_NODE, b"another binding")


def test_a_proof_comes_out_of_what_fills_its_message_up_and_nonsense_does_not() -> None:
    certificate, key = a_node_certificate(CLINIC)
    der, signature = certificate.public_bytes(Encoding.DER), sign(key, DATAGRAM_NODE, b"x")
    packed = pack_proof(signature, der)
    unpacked = unpack_proof(packed + bytes(200))
    assert unpacked is not None
    assert unpacked == (signature, certificate)
    assert node_of(unpacked[1]) == CLINIC
    for cut in (b"", packed[:1], packed[:80], packed[:-1], bytes(100), b"\xff" * 400):
        assert unpack_proof(cut) is None


@pytest.mark.parametrize("part", malformed(a_node_certificate(CLINIC)[0]))
def test_a_certificate_with_a_part_that_cannot_be_read_shows_nothing_and_raises_nothing(part: str) -> None:
    authority = device_ca.new_authority(CLINIC.region)
    certificate, key = a_node_certificate(CLINIC, authority)
    der, signature = malformed(certificate)[part], sign(key, DATAGRAM_NODE, b"binding")
    unpacked = unpack_proof(pack_proof(signature, der))
    if unpacked is None:
        return
    altered = unpacked[1]
    is_named, is_proved = bool(urns_of(altered)), is_signed(altered, signature, DATAGRAM_NODE, b"binding")
    assert not (is_named and is_proved)
    assert device_ca.is_for_clients(altered) == is_named
    assert not is_issued_by(altered, [authority.certificate])
    assert not device_ca.is_good(altered, [authority.certificate], datetime.now(UTC))


def test_every_refusal_has_words_in_both_languages() -> None:
    assert set(REFUSALS) == set(Refusal)
    assert all(zh and en for zh, en in REFUSALS.values())
