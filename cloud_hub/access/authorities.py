"""The authorities of a hub in its folder: the one that issues, and earlier ones that are still trusted.

Each has a number and three files: `ca-2.pem` says that it is trusted, and the one with the highest number issues;
`ca-2.key` is its key, `ca-2.chain.pem` what an organisation signed for it.  The first is called `ca` alone.  Whether an
authority counts depends on one file, which is written last and deleted first: a crash leaves a folder that opens.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from telemed.enrolment import MALFORMED
from telemed.whole_files import OWNER_ONLY, destroy, write_whole

from cloud_hub.access import authority_chain, device_ca
from cloud_hub.access.authority_chain import ChainUnusable, Names
from cloud_hub.access.device_ca import Authority
from cloud_hub.errors import ConfigRefused

REQUESTED_KEY = "requested.key"
READABLE = 0o644
_IS_TRUSTED = re.compile(r"ca(?:-([0-9]{1,6}))?\.pem")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An authority that was made somewhere else, as the configuration names it."""

    chain_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class Trusted:
    """An authority whose certificates count."""

    number: int
    certificate: x509.Certificate
    authority: Authority | None
    """None: its key is gone, so that it signs nothing more."""

    @property
    def sha256(self) -> bytes:
        """What tokens pin it by."""
        return self.certificate.fingerprint(hashes.SHA256())


def load(folder: Path, names: Names, elsewhere: Elsewhere | None = None) -> tuple[Trusted, ...]:
    """Return the authorities of a folder, the oldest first; the last one issues, and has its key.

    One that the configuration names is taken in as the newest when it is seen first; where there is none at all, one is
    made.  Called by the start of a hub alone, for what is taken in stays: see `look`.

    Raises:
        ConfigRefused: a key is missing where one is needed, or does not fit, or others may read it; or the chain of the
            authority that issues does not bear the hub's names.
        OSError: a file cannot be read or stored.
        MALFORMED: a file holds no key or certificate.
    """
    given = _given(elsewhere, names) if elsewhere is not None else None
    found = _numbers(folder)
    if given is not None and not any(_is_for(_trusted_in(folder, number), given) for number in found):
        found.append(_add(folder, given, keeps_key=False))
    if not found:
        found.append(_add_first(folder, names.region))
    _sweep(folder, found)
    known = listed(folder, given)
    _refuse_mute(folder, known[-1], names)
    return known


def look(folder: Path, names: Names, elsewhere: Elsewhere | None = None) -> tuple[Trusted, ...]:
    """Return the authorities as the next start will have them; nothing is written.

    Args:
        folder: may not exist.
        names: of the hub.
        elsewhere: the authority that is to issue, where it was made somewhere else.

    Returns:
        The oldest first, the last one issues; none where the next start makes the first.

    Raises:
        ConfigRefused, OSError, MALFORMED: as `load`.
    """
    given = _given(elsewhere, names) if elsewhere is not None else None
    known = listed(folder, given)
    if given is not None and not any(_is_for(each.certificate, given) for each in known):
        known = (*known, Trusted(_next_number(folder), given.certificate, given))
    if known:
        _refuse_mute(folder, known[-1], names)
    return known


def listed(folder: Path, given: Authority | None = None) -> tuple[Trusted, ...]:
    """Return the authorities that are in a folder, the oldest first, also where the last one has no key.

    Args:
        folder: may not exist.
        given: one of them, whose key is somewhere else.

    Raises:
        ConfigRefused: a key does not fit, or others may read it.
        OSError: a file cannot be read.
        MALFORMED: a file holds no key or certificate.
    """
    return tuple(_read(folder, number, given) for number in _numbers(folder))


def add_next(folder: Path, region: str) -> int:
    """Make another authority, which stands on its own and issues from the next start on; return its number.

    Raises:
        OSError: it cannot be stored; nothing has changed.
    """
    number = _next_number(folder)
    return _add(folder, device_ca.new_authority(region, number=number), keeps_key=True)


def request(folder: Path, region: str, *, same_key: bool) -> bytes:
    """Return the request for an organisation's authority, PEM; the same key each time until a chain is installed.

    Args:
        folder: where the key stays.
        region: whose hub it is.
        same_key: for the key and the name of the authority that issues now, so that nodes need not be told.

    Raises:
        ConfigRefused: the authority that issues now has no key here.
        OSError: the key cannot be stored or read.
        MALFORMED: the key cannot be read.
    """
    if same_key:
        found = _numbers(folder)
        known = _read(folder, found[-1], None) if found else None
        if known is None or known.authority is None:
            raise ConfigRefused(f"pki.folder: {folder} has no authority with its key: ask without --same-key")
        made = device_ca.request_of(region, known.authority.key, known.certificate.subject)
    else:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _requested(folder)
        if key is None:
            key = device_ca.new_key()
            write_whole(folder / REQUESTED_KEY, private_pem(key), OWNER_ONLY)
        made = device_ca.request_of(region, key, _next_number(folder))
    return made.public_bytes(Encoding.PEM)


def install(folder: Path, pem: bytes, names: Names, now: datetime) -> Trusted:
    """Put in place what an organisation signed; its authority issues from the next start on.

    For the key and name of the authority that issues now, its chain alone is replaced; else it becomes the next one.

    Raises:
        ChainUnusable: it cannot be used; nothing has changed.
        OSError: it cannot be stored; nothing has changed.
        MALFORMED: a key in the folder cannot be read.
    """
    authority = _installable(folder, pem)
    authority_chain.judge_time(authority.chain, now)
    authority_chain.judge(authority, names)
    newest = next((number for number in reversed(_numbers(folder))), None)
    if newest is not None and _is_for(_trusted_in(folder, newest), authority):
        write_whole(_file(folder, newest, "chain.pem"), _pem(authority.chain), READABLE)
        return Trusted(newest, _trusted_in(folder, newest), authority)
    number = _add(folder, authority, keeps_key=True)
    requested = _requested(folder)
    if requested is not None and requested.public_key() == authority.key.public_key():
        destroy(folder / REQUESTED_KEY)
    return Trusted(number, authority.certificate, authority)


def retire(folder: Path) -> list[int]:
    """Trust the newest authority alone; return the numbers of those that are trusted no more, whose keys are destroyed.

    Raises:
        OSError: one of them could not be deleted; those before it are.
    """
    found = _numbers(folder)
    for number in found[:-1]:
        _file(folder, number, "pem").unlink()
    _sweep(folder, found[-1:])
    return found[:-1]


def began_ns(folder: Path, number: int) -> int | None:
    """Return when a hub first served under an authority; None: not yet.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no number.
    """
    file = _file(folder, number, "began")
    return int(file.read_text(encoding="ascii")) if file.exists() else None


def note_began(folder: Path, number: int, at_ns: int) -> None:
    """Note when a hub first served under an authority: what was issued until then is of an earlier one.

    Raises:
        OSError: it cannot be stored.
    """
    write_whole(_file(folder, number, "began"), f"{at_ns}\n".encode(), READABLE)


def read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """Return a private key on an elliptic curve.

    Raises:
        ConfigRefused: it is another kind of key.
        OSError: it cannot be read.
        MALFORMED: it is none.
    """
    key = load_pem_private_key(file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigRefused(f"pki: {file} is no ECDSA key")
    return key


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as it is stored."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def refuse_open(file: Path) -> None:
    """Look at who may read a private key.

    Raises:
        ConfigRefused: others than its owner.
        OSError: it is not there.
    """
    if file.stat().st_mode & 0o077:
        raise ConfigRefused(f"pki.folder: {file} can be read by others: chmod 600 {file}")


def _given(elsewhere: Elsewhere, names: Names) -> Authority:
    try:
        refuse_open(elsewhere.key_file)
        key = read_key(elsewhere.key_file)
        pem = elsewhere.chain_file.read_bytes()
    except OSError as error:
        raise ConfigRefused(f"pki.authority_file: {error.filename}: {error.strerror}") from error
    except MALFORMED as error:
        raise ConfigRefused(f"pki.authority_key_file: {elsewhere.key_file}: no key without a password") from error
    try:
        given = device_ca.below(authority_chain.read_chain(pem, key.public_key()), key)
    except MALFORMED as error:
        raise ConfigRefused(f"pki.authority_file: {elsewhere.chain_file}: {error}") from error
    _refuse_bad(given, names, elsewhere.chain_file)
    return given


def _refuse_mute(folder: Path, issuing: Trusted, names: Names) -> None:
    if issuing.authority is None:
        raise ConfigRefused(
            f"pki.folder: the authority's key {_file(folder, issuing.number, 'key')} is gone: put its copy back, or "
            "make another authority by `cloud-hub authority next`"
        )
    if issuing.authority.chain:
        _refuse_bad(issuing.authority, names, _file(folder, issuing.number, "chain.pem"))


def _refuse_bad(authority: Authority, names: Names, chain_file: Path) -> None:
    try:
        authority_chain.judge(authority, names)
    except ChainUnusable as error:
        raise ConfigRefused(f"pki: the authority of {chain_file} cannot be used: {error}") from error


def _installable(folder: Path, pem: bytes) -> Authority:
    refused: ChainUnusable | None = None
    for key in _own_keys(folder):
        try:
            return device_ca.below(authority_chain.read_chain(pem, key.public_key()), key)
        except ChainUnusable as error:
            refused = refused or error
    raise refused or ChainUnusable("this hub asked for none: begin with `cloud-hub authority request`")


def _own_keys(folder: Path) -> Iterator[ec.EllipticCurvePrivateKey]:
    """Yield what a chain may be for: the key that was asked for, and the one of the authority that issues now."""
    requested = _requested(folder)
    if requested is not None:
        yield requested
    for number in _numbers(folder)[-1:]:
        if _file(folder, number, "key").exists():
            yield read_key(_file(folder, number, "key"))


def _requested(folder: Path) -> ec.EllipticCurvePrivateKey | None:
    file = folder / REQUESTED_KEY
    # One that was overwritten to be destroyed, by a process that died before it deleted it, is none.
    return read_key(file) if file.exists() and file.read_bytes().strip(b"\0") else None


def _numbers(folder: Path) -> list[int]:
    matches = (_IS_TRUSTED.fullmatch(file.name) for file in folder.glob("ca*.pem"))
    return sorted(int(match[1] or 1) for match in matches if match is not None)


def _next_number(folder: Path) -> int:
    return max(_numbers(folder), default=0) + 1


def _file(folder: Path, number: int, kind: str) -> Path:
    stem = "ca" if number == 1 else f"ca-{number}"
    return folder / f"{stem}.{kind}"


def _add_first(folder: Path, region: str) -> int:
    # The key first: whoever was killed between the two makes the certificate at the next start.
    key_file = _file(folder, 1, "key")
    key = read_key(key_file) if key_file.exists() else None
    return _add(folder, device_ca.new_authority(region, key), keeps_key=True)


def _add(folder: Path, authority: Authority, *, keeps_key: bool) -> int:
    number = _next_number(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key, chain = _file(folder, number, "key"), _file(folder, number, "chain.pem")
    # What a crash left under this number must not be taken for a part of it.
    if keeps_key:
        write_whole(key, private_pem(authority.key), OWNER_ONLY)
    else:
        destroy(key)
    if authority.chain:
        write_whole(chain, _pem(authority.chain), READABLE)
    else:
        chain.unlink(missing_ok=True)
    _file(folder, number, "began").unlink(missing_ok=True)
    write_whole(_file(folder, number, "pem"), _pem([authority.certificate]), READABLE)
    return number


def _sweep(folder: Path, trusted: Sequence[int]) -> None:
    """Destroy what is left of authorities before the newest that are trusted no more; a crash may have left it."""
    for number in range(1, max(trusted)):
        if number in trusted:
            continue
        destroy(_file(folder, number, "key"))
        for kind in ("chain.pem", "began"):
            _file(folder, number, kind).unlink(missing_ok=True)


def _trusted_in(folder: Path, number: int) -> x509.Certificate:
    return x509.load_pem_x509_certificate(_file(folder, number, "pem").read_bytes())


def _is_for(trusted: x509.Certificate, authority: Authority) -> bool:
    is_same_key = trusted.public_key() == authority.key.public_key()
    return is_same_key and trusted.subject == authority.certificate.subject


def _read(folder: Path, number: int, given: Authority | None) -> Trusted:
    certificate, key_file = _trusted_in(folder, number), _file(folder, number, "key")
    if given is not None and _is_for(certificate, given):
        return Trusted(number, certificate, Authority(certificate, given.key, given.chain))
    if not key_file.exists():
        return Trusted(number, certificate, None)
    refuse_open(key_file)
    key, chain_file = read_key(key_file), _file(folder, number, "chain.pem")
    if certificate.public_key() != key.public_key():
        raise ConfigRefused(f"pki.folder: {key_file.name} is not the key of {_file(folder, number, 'pem').name}")
    chain = tuple(x509.load_pem_x509_certificates(chain_file.read_bytes())) if chain_file.exists() else ()
    return Trusted(number, certificate, Authority(certificate, key, chain))


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
