"""Authenticator apps: a code counts once, about now, and after it was confirmed; the secret is sealed."""

import argparse
import asyncio
import base64
import contextlib
import errno
import hashlib
import math
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyotp
import pytest
from sqlalchemy import select
from telemed.roles import Role

from cloud_hub import accounts_command
from cloud_hub.access import factors, totp
from cloud_hub.access.delay import FREE_FAILURES
from cloud_hub.access.rights import Right
from cloud_hub.access.sealing import KEY_BYTES, Seal, load_or_make
from cloud_hub.access.sign_in import FRESH_S, Access, SecondFactor
from cloud_hub.access.tokens import digest
from cloud_hub.config import HubConfig
from cloud_hub.errors import (
    BadRequest,
    ConfigRefused,
    NotPermitted,
    SecondFactorNeeded,
    SecondFactorRefused,
    SignInAgain,
    StepRefused,
    StoreFailure,
    TooManyAttempts,
)
from cloud_hub.store import accounts
from cloud_hub.store import factors as stored_factors
from cloud_hub.store.accounts import SetBy
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import recovery_code
from cloud_hub.store.schema import totp as totp_table
from tests.cloud_hub.access.conftest import PASSWORD

pytestmark = pytest.mark.anyio
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
KEY = bytes(range(KEY_BYTES))


@pytest.fixture
def access(care: Database, clock: Any) -> Access:
    return Access(care, "baoshan", now_ns=clock, second=SecondFactor(frozenset({Role.PHYSICIAN}), Seal(KEY)))


def code_at(secret: str, clock: Any, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(clock() // 10**9 + steps * totp.STEP_S)


async def set_up(access: Access, care: Database, clock: Any, username: str = "clinic") -> tuple[str, list[str]]:
    seal = access.second.seal
    begun = care.write_blocking(lambda c: factors.begin(c, seal, username, clock()))
    code = code_at(begun.secret, clock)
    return begun.secret, care.write_blocking(lambda c: factors.confirm(c, seal, username, code, clock()))


def test_codes_are_those_of_rfc_6238() -> None:
    # Appendix B, SHA-1, cut to six digits.
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    for at_s, code in ((59, "287082"), (1111111109, "081804"), (2000000000, "279037")):
        assert totp.step_of(secret, code, at_s) == at_s // 30
    assert totp.step_of(secret, "287082", 59 + 61) is None
    assert totp.step_of(secret, "287 082", 59) == 1
    for wrong in ("", "28708", "287083", "２８７０８２", "\udcff"):
        assert totp.step_of(secret, wrong, 59) is None


def test_the_address_and_its_picture_are_what_apps_read() -> None:
    address = totp.address(SECRET, "clinic")
    assert pyotp.parse_uri(address).secret == SECRET
    assert totp.picture(address).startswith("data:image/svg+xml")


async def test_once_set_up_the_password_alone_opens_nothing(access: Access, care: Database, clock: Any) -> None:
    secret, _ = await set_up(access, care, clock)
    with pytest.raises(SecondFactorNeeded):
        await access.sign_in("clinic", PASSWORD, "a")
    with pytest.raises(SecondFactorRefused):
        await access.sign_in("clinic", PASSWORD, "a", code="000000")
    clock.pass_s(60)
    opened = await access.sign_in("clinic", PASSWORD, "a", code=code_at(secret, clock))
    assert await access.resolve(opened.token, "cookie") == opened.principal


async def test_a_code_that_was_used_is_refused_also_the_one_that_confirmed(
    access: Access, care: Database, clock: Any
) -> None:
    secret, _ = await set_up(access, care, clock)
    with pytest.raises(SecondFactorRefused):
        await access.sign_in("clinic", PASSWORD, "a", code=code_at(secret, clock))
    clock.pass_s(30)
    code = code_at(secret, clock)
    await access.sign_in("clinic", PASSWORD, "a", code=code)
    with pytest.raises(SecondFactorRefused):
        await access.sign_in("clinic", PASSWORD, "a", code=code)
    with pytest.raises(SecondFactorRefused):  # older than the one used, though still about now
        await access.sign_in("clinic", PASSWORD, "a", code=code_at(secret, clock, -1))


async def test_a_password_set_anew_takes_no_second_factor_away(access: Access, care: Database, clock: Any) -> None:
    secret, _ = await set_up(access, care, clock)
    account = care.read_blocking(lambda c: accounts.account_of(c, "clinic"))
    assert account is not None
    given = replace(account, password_by=SetBy.OPERATOR, password_ns=clock())
    care.write_blocking(lambda c: accounts.save_account(c, given, clock()))
    with pytest.raises(SecondFactorNeeded):
        await access.sign_in("clinic", PASSWORD, "a")
    clock.pass_s(totp.STEP_S)
    opened = await access.sign_in("clinic", PASSWORD, "a", code=code_at(secret, clock))
    assert opened.principal.must_change


async def test_a_recovery_code_opens_once_however_it_is_typed(access: Access, care: Database, clock: Any) -> None:
    _, codes = await set_up(access, care, clock)
    assert len(set(codes)) == totp.RECOVERY_CODES
    await access.sign_in("clinic", PASSWORD, "a", code=codes[0].upper().replace("-", " "))
    with pytest.raises(SecondFactorRefused):
        await access.sign_in("clinic", PASSWORD, "a", code=codes[0])
    left = care.read_blocking(lambda c: factors.state(c, "clinic"))
    assert left == factors.State(True, totp.RECOVERY_CODES - 1)


def test_recovery_codes_have_112_bits_and_secrets_160_and_none_comes_twice() -> None:
    codes = [code for _ in range(50) for code in totp.new_recovery_codes()]
    letters = set("".join(map(totp.plain, codes)))
    assert {len(totp.plain(code)) * math.log2(len(letters)) > 112 for code in codes} == {True}
    assert {len(group) for code in codes for group in code.split("-")} == {4}
    assert len(set(codes)) == len(codes)
    secrets = [base64.b32decode(totp.new_secret()) for _ in range(50)]
    assert {len(secret) for secret in secrets} == {20}
    assert len(set(secrets)) == len(secrets)


async def test_a_recovery_code_given_out_before_opens_still_until_it_is_used(
    access: Access, care: Database, clock: Any
) -> None:
    await set_up(access, care, clock)
    hashes = [hashlib.sha256(b"bcdfghjkmnpq2345").hexdigest()]
    care.write_blocking(lambda c: stored_factors.save_recovery_codes(c, "clinic", hashes))
    assert (await access.sign_in("clinic", PASSWORD, "a", code="BCDF GHJK MNPQ 2345")).principal.username == "clinic"
    with pytest.raises(SecondFactorRefused):
        await access.sign_in("clinic", PASSWORD, "a", code="bcdf-ghjk-mnpq-2345")


async def test_neither_secret_nor_recovery_code_is_readable_in_the_database(
    access: Access, care: Database, clock: Any
) -> None:
    secret, codes = await set_up(access, care, clock)
    row = care.read_blocking(lambda c: c.execute(select(totp_table)).one())
    assert secret.encode() not in row.sealed
    assert access.second.seal.open(row.sealed, "clinic") == secret
    for seal, username in ((Seal(bytes(KEY_BYTES)), "clinic"), (Seal(KEY), "x")):
        with pytest.raises(StoreFailure):
            seal.open(row.sealed, username)
    hashes = care.read_blocking(lambda c: set(c.execute(select(recovery_code.c.code_hash)).scalars()))
    assert hashes == {digest(totp.plain(code)) for code in codes}


async def test_wrong_codes_wait_longer_and_longer_from_any_address(access: Access, care: Database, clock: Any) -> None:
    secret, _ = await set_up(access, care, clock)
    clock.pass_s(60)
    for address in ("a", "b", "c"):
        with pytest.raises(SecondFactorRefused):
            await access.sign_in("clinic", PASSWORD, address, code="000000")
    with pytest.raises(TooManyAttempts):
        await access.sign_in("clinic", PASSWORD, "d", code=code_at(secret, clock))
    clock.pass_s(5)
    await access.sign_in("clinic", PASSWORD, "d", code=code_at(secret, clock))


async def test_a_role_that_needs_one_can_do_nothing_but_set_it_up(access: Access, care: Database, clock: Any) -> None:
    bare = await access.sign_in("physician", PASSWORD, "a")
    assert bare.principal.must_enrol
    assert bare.principal.rights == {Right.SIGNED_IN}
    with pytest.raises(NotPermitted):
        bare.principal.demand(Right.SEE_VITALS)
    secret, _ = await set_up(access, care, clock, "physician")
    still = await access.resolve(bare.token, "cookie")
    assert still is not None
    assert still.must_enrol
    clock.pass_s(30)
    full = await access.sign_in("physician", PASSWORD, "a", code=code_at(secret, clock))
    assert full.principal.may(Right.SEE_VITALS)
    assert not (await access.sign_in("clinic", PASSWORD, "a")).principal.must_enrol


async def test_taking_it_away_asks_for_both_and_ends_every_session(
    access: Access, care: Database, clock: Any, audit_of: Any
) -> None:
    secret, _ = await set_up(access, care, clock)
    clock.pass_s(30)
    opened = await access.sign_in("clinic", PASSWORD, "a", code=code_at(secret, clock))
    clock.pass_s(30)
    with pytest.raises(SecondFactorNeeded):
        await access.remove_totp(opened.principal, PASSWORD, "", "a")
    await access.remove_totp(opened.principal, PASSWORD, code_at(secret, clock), "a")
    assert await access.resolve(opened.token, "cookie") is None
    assert audit_of()[-1][1] == "second-factor-removed"
    await access.sign_in("clinic", PASSWORD, "a")


async def test_what_is_set_up_is_not_replaced_without_taking_it_away(
    access: Access, care: Database, clock: Any
) -> None:
    await set_up(access, care, clock)
    seal = access.second.seal
    with pytest.raises(StepRefused):
        care.write_blocking(lambda c: factors.begin(c, seal, "clinic", clock()))
    with pytest.raises(StepRefused):
        care.write_blocking(lambda c: factors.confirm(c, seal, "clinic", "000000", clock()))
    care.write_blocking(lambda c: factors.begin(c, seal, "operator", clock()))
    with pytest.raises(BadRequest):
        care.write_blocking(lambda c: factors.confirm(c, seal, "operator", "000000", clock()))


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "accounts-key"
    sealed = load_or_make(path, 0).close("x", "u")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make(path, 1).open(sealed, "u") == "x"
    path.write_bytes(os.urandom(5))
    with pytest.raises(ConfigRefused, match="5 bytes"):
        load_or_make(path, 0)
    with pytest.raises(ConfigRefused, match="cannot be used"):
        load_or_make(tmp_path / "none" / "key", 0)


def test_a_key_is_in_place_whole_and_on_disk_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "accounts-key", []
    sync = os.fsync

    def note(number: int) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").readlink())
        sync(number)

    def full_disk(_number: int) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full_disk)
        with pytest.raises(ConfigRefused, match="no room"):
            load_or_make(path, 0)
    assert not path.exists()
    monkeypatch.setattr(os, "fsync", note)
    load_or_make(path, 0)
    assert len(path.read_bytes()) == KEY_BYTES
    assert synced[-1] == tmp_path


async def test_a_key_that_is_lost_while_secrets_are_sealed_under_it_is_not_made_anew(
    access: Access, care: Database, clock: Any, tmp_path: Path
) -> None:
    path = tmp_path / "accounts-key"
    assert care.read_blocking(stored_factors.count) == 0
    care.write_blocking(lambda c: factors.begin(c, access.second.seal, "operator", clock()))
    assert care.read_blocking(stored_factors.count) == 0
    await set_up(access, care, clock)
    sealed = care.read_blocking(stored_factors.count)
    assert sealed == 1
    with pytest.raises(ConfigRefused, match=r"1 second factor.*reset-factor"):
        load_or_make(path, sealed)
    assert not path.exists()


async def test_who_lost_both_is_helped_from_the_command_line(
    access: Access, care: Database, clock: Any, tmp_path: Path, audit_of: Any
) -> None:
    await set_up(access, care, clock)
    store = {"samples_url": "sqlite://", "care_url": f"sqlite:///{tmp_path}/care.db"}
    base = {"region": "baoshan", "name_zh": "中", "name_en": "Hub", "store": store, "broker": {"secrets_file": "x"}}
    config = HubConfig.model_validate(base)
    asked = argparse.Namespace(action="reset-factor", username="clinic")
    lines = await asyncio.to_thread(accounts_command.run, config, asked)
    assert lines == ["clinic: second factor taken away"]
    assert audit_of()[-1] == ("command-line", "second-factor-reset", "account/clinic", "ok")
    await access.sign_in("clinic", PASSWORD, "a")
    with pytest.raises(BadRequest):
        await asyncio.to_thread(accounts_command.run, config, asked)


async def test_codes_tried_at_once_are_counted_like_codes_one_after_another(
    access: Access, care: Database, clock: Any
) -> None:
    await set_up(access, care, clock)
    account = care.read_blocking(lambda c: accounts.account_of(c, "clinic"))
    assert account is not None
    tries = [access.second_factor(account, "000000") for _ in range(40)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(one) for one in answers].count(SecondFactorRefused) == FREE_FAILURES
    assert [type(one) for one in answers].count(TooManyAttempts) == 40 - FREE_FAILURES


async def test_confirmations_tried_at_once_are_counted_like_one_after_another(
    access: Access, care: Database, clock: Any
) -> None:
    entered = await access.sign_in("clinic", PASSWORD, "a")
    who = entered.principal
    care.write_blocking(lambda c: factors.begin(c, access.second.seal, "clinic", clock()))
    answers = await asyncio.gather(
        *[access.confirm_totp(who, "000000", entered.token) for _ in range(40)], return_exceptions=True
    )
    assert [type(one) for one in answers].count(BadRequest) == FREE_FAILURES


async def test_what_no_code_was_judged_for_counts_as_no_wrong_code(access: Access, care: Database, clock: Any) -> None:
    await set_up(access, care, clock)
    account = care.read_blocking(lambda c: accounts.account_of(c, "clinic"))
    assert account is not None
    entered = await access.open(account, "totp")
    for _ in range(2 * FREE_FAILURES):
        with pytest.raises(StepRefused):
            await access.confirm_totp(entered.principal, "000000", entered.token)
    clock.pass_s(FRESH_S + 1)
    for _ in range(2 * FREE_FAILURES):
        with pytest.raises(SignInAgain):
            await access.confirm_totp(entered.principal, "000000", entered.token)
    with pytest.raises(SecondFactorRefused):
        await access.second_factor(account, "000000")


async def test_a_confirmation_whose_session_cannot_be_opened_confirms_nothing(
    access: Access, care: Database, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered = await access.sign_in("clinic", PASSWORD, "a")
    who = entered.principal
    begun = care.write_blocking(lambda c: factors.begin(c, access.second.seal, "clinic", clock()))

    def full_disk(*_parts: Any) -> None:
        raise StoreFailure("care: no room")

    with monkeypatch.context() as broken:
        broken.setattr(accounts, "open_session", full_disk)
        with pytest.raises(StoreFailure):
            await access.confirm_totp(who, code_at(begun.secret, clock), entered.token)
    assert not care.read_blocking(lambda c: factors.state(c, "clinic")).has_totp
    codes, opened = await access.confirm_totp(who, code_at(begun.secret, clock), entered.token)
    assert len(codes) == totp.RECOVERY_CODES
    assert await access.resolve(opened.token, "cookie") == opened.principal


async def test_a_program_is_linked_to_nobody_at_the_provider(access: Access, tmp_path: Path) -> None:
    store = {"samples_url": "sqlite://", "care_url": f"sqlite:///{tmp_path}/care.db"}
    oidc = {"issuer": "https://idp.example", "client_id": "hub", "client_secret_file": "x"}
    oidc |= {"redirect_uri": "https://hub.example/api/v1/oidc/callback", "name_zh": "院", "name_en": "Hospital"}
    base = {"region": "baoshan", "name_zh": "中", "name_en": "Hub", "store": store, "broker": {"secrets_file": "x"}}
    config = HubConfig.model_validate(base | {"oidc": oidc})
    for username, refused in (("api", True), ("clinic", False)):
        asked = argparse.Namespace(action="link", username=username, subject=f"s-{username}")
        with pytest.raises(BadRequest) if refused else contextlib.nullcontext():
            await asyncio.to_thread(accounts_command.run, config, asked)
