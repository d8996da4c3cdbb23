"""An organisation's own certificate authority, run by the openssl command: another implementation than the hub's."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloud_hub.access import authorities, authority_chain, device_ca
from cloud_hub.access.authority_chain import Names
from cloud_hub.access.device_ca import Authority

SUBORDINATE = (
    "basicConstraints = critical, CA:TRUE, pathlen:0",
    "keyUsage = critical, keyCertSign, cRLSign",
    "subjectKeyIdentifier = hash",
    "authorityKeyIdentifier = keyid",
)
_SETTINGS = """
[ca]
default_ca = here
[here]
new_certs_dir = .
database = index.txt
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
email_in_dn = no
[any]
organizationName = optional
commonName = supplied
"""
_ROOT = "basicConstraints=critical,CA:TRUE"
_SIGNS = "keyUsage=critical,keyCertSign,cRLSign"

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (Debian: openssl)")


class Organisation:
    """A root, and below it an authority that signs those of departments; every step is a process of openssl."""

    def __init__(self, folder: Path, path_length: int = 1) -> None:
        """Make both.

        Args:
            folder: a new one.
            path_length: how many authorities may stand one below the other under the middle one.
        """
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "settings").write_text(_SETTINGS)
        (folder / "index.txt").touch()
        self._openssl(*_new_key("root"))
        self._openssl(
            *("req", "-x509", "-new", "-key", "root.key", "-subj", "/O=Hospital/CN=Hospital Root", "-days", "7300"),
            *("-addext", _ROOT, "-addext", _SIGNS, "-out", "root.pem"),
        )
        self._openssl(*_new_key("middle"))
        self._openssl("req", "-new", "-key", "middle.key", "-subj", "/O=Hospital/CN=Hospital IT", "-out", "middle.csr")
        lines = (f"basicConstraints = critical, CA:TRUE, pathlen:{path_length}", *SUBORDINATE[1:])
        self._sign("middle", "root", lines)

    @property
    def root(self) -> Path:
        """What the organisation's machines trust."""
        return self.folder / "root.pem"

    def sign(
        self,
        request: bytes,
        lines: tuple[str, ...] = SUBORDINATE,
        subject: str = "",
        days: tuple[int, int] = (-1, 1825),
    ) -> bytes:
        """What comes back for a request: the certificate, and those above it up to the root.

        Args:
            request: PKCS #10, PEM.
            lines: the extensions that the organisation gives.
            subject: how it calls it instead of what was asked for.
            days: from when to when, from now on.
        """
        (self.folder / "department.csr").write_bytes(request)
        self._sign("department", "middle", lines, *(("-subj", subject) if subject else ()), days=days)
        return b"".join((self.folder / name).read_bytes() for name in ("department.pem", "middle.pem", "root.pem"))

    def join(self, folder: Path, hosts: tuple[str, ...] = ("127.0.0.1",), region: str = "baoshan") -> None:
        """Sign the authority of a hub's folder, and put it in place as its operator does."""
        chain = self.sign(authorities.request(folder, region, same_key=False))
        authorities.install(folder, chain, Names(region, hosts, "hub"), datetime.now(UTC))

    def another(self, region: str) -> Authority:
        """Another department's authority below the same root, called as the hub's own is."""
        key = device_ca.new_key()
        pem = self.sign(device_ca.request_of(region, key, 1).public_bytes(Encoding.PEM))
        return device_ca.below(authority_chain.read_chain(pem, key.public_key()), key)

    def verifies(self, chain: Path) -> bool:
        """Whether a machine that trusts the root alone follows a chain (PEM, its own first) up to it."""
        asked = ("openssl", "verify", "-CAfile", "root.pem", "-untrusted", str(chain.absolute()), str(chain.absolute()))
        return subprocess.run(asked, cwd=self.folder, capture_output=True, check=False).returncode == 0

    def _sign(
        self, name: str, issuer: str, lines: tuple[str, ...], *more: str, days: tuple[int, int] = (-1, 3650)
    ) -> None:
        (self.folder / f"{name}.ext").write_text("\n".join(lines))
        now = datetime.now(UTC)
        begins, ends = (f"{now + timedelta(days=each):%Y%m%d%H%M%SZ}" for each in days)
        self._openssl(
            *("ca", "-batch", "-notext", "-config", "settings", "-cert", f"{issuer}.pem", "-keyfile", f"{issuer}.key"),
            *("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext"),
            *("-startdate", begins, "-enddate", ends, *more),
        )

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(("openssl", *arguments), cwd=self.folder, check=True, capture_output=True, timeout=20)


def _new_key(name: str) -> tuple[str, ...]:
    return ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")


def whole(certificate: x509.Certificate, authority: Authority) -> bytes:
    """A certificate with everything above it up to the root, PEM."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, *authority.chain))
