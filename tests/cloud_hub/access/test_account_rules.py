"""Rules of accounts, tokens and seals that no other test holds: what a security standard asks for, line by line."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from telemed.passwords import is_right
from telemed.roles import Role
from telemed.screen import SignIn

from cloud_hub.access import device_ca
from cloud_hub.access.oauth import CodeRequest, OAuth, OAuthRefused
from cloud_hub.access.oauth import Proof as CodeProof
from cloud_hub.access.passwords import hash_password
from cloud_hub.access.sealing import KEY_BYTES, Seal
from cloud_hub.access.sign_in import Access, SecondFactor
from cloud_hub.access.tokens import new_token
from cloud_hub.errors import SignInRefused, StoreFailure
from cloud_hub.store import accounts
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from tests.cloud_hub.access.conftest import PASSWORD

YEAR_S = 365 * 86_400
ASKED = CodeRequest("api", "http://127.0.0.1:51004/callback", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")


def test_a_fresh_hub_has_no_account_at_all(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/care.db", CARE, "care")
    database.migrate()
    assert database.read_blocking(accounts.accounts) == []
    database.close()


@pytest.mark.anyio
async def test_a_password_is_good_until_somebody_changes_it(access: Access, clock: Any) -> None:
    clock.pass_s(10 * YEAR_S)
    assert (await access.sign_in("clinic", PASSWORD, "a")).principal.username == "clinic"


@pytest.mark.parametrize("length", [64, 256])
def test_long_passwords_are_taken_whole(length: int) -> None:
    long = "春眠不觉晓 amber birch " * 20
    password, other = long[:length], long[: length - 1] + "X"
    assert SignIn(username="a", password=password).password == password
    hashed = hash_password(password)
    assert is_right(hashed, password)
    assert not is_right(hashed, other)
    assert not is_right(hashed, password.upper())


@pytest.mark.anyio
async def test_a_password_that_is_too_long_is_refused_and_not_cut(access: Access, care: Database) -> None:
    longest = ("春眠不觉晓 amber birch " * 20)[:256]
    account = care.read_blocking(lambda c: accounts.account_of(c, "clinic"))
    assert account is not None
    care.write_blocking(lambda c: accounts.save_account(c, replace(account, password_hash=hash_password(longest)), 1))
    assert (await access.authenticate("clinic", longest, "a")).username == "clinic"
    with pytest.raises(SignInRefused):
        await access.authenticate("clinic", longest + "x", "a")


def test_tokens_are_256_bits_and_none_comes_twice() -> None:
    made = {new_token() for _ in range(1000)}
    assert len(made) == 1000
    raw = {base64.urlsafe_b64decode(token + "=") for token in made}
    assert {len(each) for each in raw} == {32}
    # Each byte of a random token takes nearly every value; a counter or a clock would not.
    assert all(len({each[place] for each in raw}) > 200 for place in range(32))


def test_what_is_sealed_does_not_open_once_a_byte_has_changed() -> None:
    seal = Seal(bytes(KEY_BYTES))
    sealed = seal.close("secret", "clinic")
    assert sealed != seal.close("secret", "clinic"), "each time another nonce"
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(StoreFailure):
            seal.open(bytes(changed), "clinic")
    with pytest.raises(StoreFailure):
        seal.open(sealed[:-1], "clinic")


def test_what_the_authority_signs_is_sha_256_on_p_256() -> None:
    authority = device_ca.new_authority("baoshan")
    listeners = device_ca.for_listeners(authority, device_ca.new_key().public_key(), "baoshan", ["hub.example.org"])
    for certificate in (authority.certificate, listeners):
        used, key = certificate.signature_hash_algorithm, certificate.public_key()
        assert used is not None
        assert used.name == "sha256"
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"


@pytest.mark.anyio
async def test_no_program_acts_for_somebody_whose_second_factor_is_missing(care: Database, clock: Any) -> None:
    access = Access(care, "baoshan", now_ns=clock, second=SecondFactor(frozenset({Role.CLINIC})))
    with pytest.raises(OAuthRefused) as refused:
        await OAuth(access).give_code(ASKED, CodeProof("clinic", PASSWORD), "a")
    assert refused.value.error == "access_denied"
    assert await OAuth(access).give_code(ASKED, CodeProof("caregiver", PASSWORD), "a")
