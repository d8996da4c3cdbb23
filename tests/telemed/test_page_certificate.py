"""HTTPS of the pages: of the hub's own authority or of files, current without a restart, sound after a bad file."""

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from telemed import page_certificate
from telemed.errors import CertificateUnusable
from telemed.page_certificate import PageCertificate

from cloud_hub.access import device_ca
from cloud_hub.access.ca_folder import PAGES, PAGES_KEY, CaFolder, open_folder
from edge_node.uplink.certificates import private_pem

NOW = datetime.now(UTC)
NAMES = ["hub.example.org", "192.0.2.7"]


@pytest.fixture
def folder(tmp_path: Path) -> CaFolder:
    return open_folder(tmp_path, "baoshan", NAMES, "hub")


def shown(held: PageCertificate, folder: CaFolder, name: str) -> bytes | None:
    """The certificate that a browser is shown, in memory; raises SSLError where it would warn."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(cadata=folder.authority.certificate.public_bytes(Encoding.PEM).decode())
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    browser = trusting.wrap_bio(down, up, server_hostname=name)
    page = held.context.wrap_bio(up, down, server_side=True)
    for _ in range(3):
        for end in (browser, page):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return browser.getpeercert(binary_form=True)


def test_a_browser_that_trusts_the_authority_sees_a_good_page_under_every_name(folder: CaFolder) -> None:
    folder.keep_pages(NAMES, NOW)
    held = PageCertificate(folder.path(PAGES), folder.path(PAGES_KEY))
    for name in NAMES:
        assert shown(held, folder, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(held, folder, "other.example.org")
    assert folder.path(PAGES_KEY).stat().st_mode & 0o077 == 0


def test_it_is_made_anew_at_two_thirds_of_its_life_and_taken_without_a_restart(folder: CaFolder) -> None:
    at = [NOW - timedelta(days=270)]
    held = PageCertificate(folder.path(PAGES), folder.path(PAGES_KEY), lambda: folder.keep_pages(NAMES, at[0]))
    first = shown(held, folder, NAMES[0])
    at[0] = NOW - timedelta(days=10)
    assert not held.look()
    at[0] = NOW
    assert held.look()
    second = shown(held, folder, NAMES[0])
    assert second
    assert second != first
    life = x509.load_der_x509_certificate(second).not_valid_after_utc - at[0]
    assert life <= timedelta(days=398), "browsers refuse longer ones"


def test_a_damaged_certificate_of_the_hubs_own_pages_is_made_anew(folder: CaFolder) -> None:
    held = PageCertificate(folder.path(PAGES), folder.path(PAGES_KEY), lambda: folder.keep_pages(NAMES, NOW))
    before = shown(held, folder, NAMES[0])
    folder.path(PAGES).write_bytes(b"damaged")
    assert held.look()
    after = shown(held, folder, NAMES[0])
    assert after
    assert after != before


@pytest.mark.anyio
async def test_a_key_of_the_pages_that_cannot_be_used_is_told_and_ends_nothing(
    folder: CaFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = PageCertificate(folder.path(PAGES), folder.path(PAGES_KEY), lambda: folder.keep_pages(NAMES, NOW))
    before = shown(held, folder, NAMES[0])
    good, told = folder.pem(PAGES_KEY), list[str]()
    other = ed25519.Ed25519PrivateKey.generate()
    kinds = [b"damaged", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]
    looked = iter([*kinds, good])

    async def wait(_seconds: float) -> None:
        try:
            folder.path(PAGES_KEY).write_bytes(next(looked))
        except StopIteration:
            raise TimeoutError from None

    log = SimpleNamespace(error=lambda _, why: told.append(why), info=lambda _, file: None)
    monkeypatch.setattr(page_certificate, "log", log)
    monkeypatch.setattr(page_certificate, "asyncio", SimpleNamespace(sleep=wait, to_thread=asyncio.to_thread))
    with pytest.raises(TimeoutError):
        await held.run()
    assert len(told) == 1
    assert "delete it" in told[0]
    assert shown(held, folder, NAMES[0]) == before
    folder.path(PAGES_KEY).write_bytes(kinds[0])
    with pytest.raises(CertificateUnusable, match="delete it"):
        PageCertificate(folder.path(PAGES), folder.path(PAGES_KEY), lambda: folder.keep_pages(NAMES, NOW))


def test_a_bad_file_is_refused_at_the_start_and_passed_over_later(folder: CaFolder, tmp_path: Path) -> None:
    folder.keep_pages(NAMES, NOW)
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    certificate.write_bytes(folder.pem(PAGES))
    key.write_bytes(folder.pem(PAGES_KEY))
    held = PageCertificate(certificate, key)
    before = shown(held, folder, NAMES[0])
    others = device_ca.for_pages(folder.authority, device_ca.new_key().public_key(), NAMES, NOW)
    good = (certificate.read_bytes(), key.read_bytes())
    for number, (shown_pem, key_pem) in enumerate(
        [
            (good[0], b"garbage"),
            (good[0], private_pem(device_ca.new_key())),
            (others.public_bytes(Encoding.PEM), good[1]),
        ]
    ):
        certificate.write_bytes(shown_pem)
        key.write_bytes(key_pem)
        os.utime(key, ns=(number, number))
        with pytest.raises(ssl.SSLError):
            held.look()
        assert shown(held, folder, NAMES[0]) == before
        with pytest.raises(CertificateUnusable, match="is not the key of"):
            PageCertificate(certificate, key)
    key.unlink()
    with pytest.raises(CertificateUnusable, match=r"own\.key: No such file"):
        PageCertificate(certificate, key)
