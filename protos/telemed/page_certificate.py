"""The certificate of the pages of hub or bedside: loaded, and loaded again when its files change, without a restart."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog

from telemed.errors import CertificateUnusable

LOOK_EVERY_S = 60.0
CIPHERS_OF_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For browsers without TLS 1.3: authenticated encryption, and a key for each session."""

log = structlog.get_logger(__name__)


def _nothing() -> None:
    """Leave the files to somebody else."""


class PageCertificate:
    """A TLS context whose certificate stays current; connections that are open keep the one that they have."""

    def __init__(self, certificate: Path, key: Path, keep: Callable[[], None] = _nothing) -> None:
        """Load it.

        Args:
            certificate: PEM, the chain with the page's own first.
            key: its private key, PEM without a password.
            keep: called before each look, blocking; makes the files anew where that is due, and raises OSError or
                CertificateUnusable where it cannot.

        Raises:
            CertificateUnusable: they cannot be read, or do not belong together.
        """
        self._certificate, self._key, self._keep = certificate, key, keep
        self._seen: tuple[int, int] = (0, 0)
        self.context = _context()
        try:
            self.look()
        except (OSError, ssl.SSLError) as error:
            raise CertificateUnusable(_why(certificate, key, error)) from error

    def look(self) -> bool:
        """Load the files if they changed; return whether they did.

        Raises:
            OSError: they cannot be read; what was loaded stays.
            CertificateUnusable: they cannot be made anew; what was loaded stays.
        """
        self._keep()
        seen = (self._certificate.stat().st_mtime_ns, self._key.stat().st_mtime_ns)
        if seen == self._seen:
            return False
        # Tried apart: a context that fails to load keeps half of what it was given.
        _context().load_cert_chain(self._certificate, self._key)
        self.context.load_cert_chain(self._certificate, self._key)
        self._seen = seen
        return True

    async def run(self) -> None:
        """Look again and again until cancelled; logs the first failure and each certificate."""
        is_told = False
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if await asyncio.to_thread(self.look):
                    log.info("page-certificate-loaded", file=str(self._certificate))
                is_told = False
            except (OSError, CertificateUnusable) as error:  # SSLError is an OSError
                if not is_told:
                    log.error("page-certificate-refused", why=_why(self._certificate, self._key, error))
                is_told = True


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_OF_1_2)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _why(certificate: Path, key: Path, error: OSError | CertificateUnusable) -> str:
    if isinstance(error, CertificateUnusable):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return f"{key} is not the key of {certificate}, or one of them is no PEM file"
    return f"{error.filename}: {error.strerror}"
