"""The bedside page's certificate is taken from its files as they change, and a bad one is passed over."""

import os
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cloud_hub.access import device_ca
from edge_node.errors import ConfigRefused
from edge_node.page_certificate import PageCertificate
from edge_node.uplink.certificates import private_pem

AUTHORITY = device_ca.new_authority("baoshan")


def put(folder: Path, at: int) -> tuple[Path, Path]:
    """Write a fresh certificate and its key, with their time."""
    key, files = device_ca.new_key(), (folder / "page.pem", folder / "page.key")
    page = device_ca.for_pages(AUTHORITY, key.public_key(), ["home-7.local"], datetime.now(UTC))
    for file, content in zip(files, (page.public_bytes(Encoding.PEM), private_pem(key)), strict=True):
        file.write_bytes(content)
        os.utime(file, ns=(at, at))
    return files


def test_files_that_change_are_loaded_and_others_are_not(tmp_path: Path) -> None:
    held = PageCertificate(*put(tmp_path, 1))
    assert not held.look()
    put(tmp_path, 2)
    assert held.look()
    assert not held.look()


def test_a_bad_file_is_refused_at_the_start_and_passed_over_later(tmp_path: Path) -> None:
    certificate, key = put(tmp_path, 1)
    held = PageCertificate(certificate, key)
    key.write_bytes(private_pem(device_ca.new_key()))
    with pytest.raises(ssl.SSLError):
        held.look()
    with pytest.raises(ConfigRefused, match=r"bedside\.https: .* is not the key of"):
        PageCertificate(certificate, key)
    put(tmp_path, 3)
    assert held.look(), "a good one after a bad one is taken"
