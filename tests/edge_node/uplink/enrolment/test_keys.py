"""Which key a node shows with a token, and which with a renewal."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from telemed.topics import NodeAddress

from cloud_hub.access import device_ca
from edge_node.uplink.certificates import CertificateFolder

SECRET, OTHER = "first-token", "second-token"


def numbers(folder: CertificateFolder, secret: str) -> int:
    return folder.key_for(secret).private_numbers().private_value


def test_a_token_is_used_with_the_same_key_at_each_try_and_another_token_with_another(tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path)
    assert numbers(folder, SECRET) == numbers(CertificateFolder(tmp_path), SECRET)
    assert numbers(folder, OTHER) != numbers(folder, SECRET)


def test_a_key_that_lay_there_for_a_renewal_is_not_used_with_a_token(tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path)
    left = folder.next_key().private_numbers().private_value
    assert numbers(folder, SECRET) != left


def test_all_keys_that_wait_are_gone_once_the_certificate_is_there(tmp_path: Path) -> None:
    folder, authority = CertificateFolder(tmp_path), device_ca.new_authority("r")
    folder.next_key()
    key = folder.key_for(SECRET)
    node = NodeAddress("r", "s", "n")
    certificate = device_ca.for_node(authority, key.public_key(), node, datetime.now(UTC), timedelta(days=7))
    folder.take(key, certificate, [authority.certificate.public_bytes(Encoding.DER)])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hub-ca.pem", "identity.pem"]
