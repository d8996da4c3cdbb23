"""Sessions: who gets one, how long it lives, and that only its hash is kept."""

import asyncio
import time
from typing import Any

import pytest
from sqlalchemy import select, update
from telemed.passwords import MEMORY_KIB, ROUNDS

from cloud_hub.access.delay import FREE_FAILURES, LONGEST_S, Failures, delay_s
from cloud_hub.access.passwords import hash_password
from cloud_hub.access.sign_in import Access
from cloud_hub.access.tokens import digest
from cloud_hub.errors import SignInRefused, TooManyAttempts
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import account as account_table
from cloud_hub.store.schema import session as session_table

pytestmark = pytest.mark.anyio
PASSWORD = "amber-birch-cedar-0001"


async def test_the_right_password_opens_a_session_that_is_kept_only_as_a_hash(access: Access, care: Database) -> None:
    opened = await access.sign_in("physician", PASSWORD, "10.0.0.1")
    rows = care.read_blocking(lambda c: c.execute(select(session_table)).all())
    assert [row.token_hash for row in rows] == [digest(opened.token)]
    assert opened.token not in str(rows)
    assert opened.principal.sites is None
    found = await access.resolve(opened.token, "cookie")
    assert found == opened.principal


async def test_a_cookie_is_no_bearer_token(access: Access) -> None:
    opened = await access.sign_in("physician", PASSWORD, "a")
    assert await access.resolve(opened.token, "bearer") is None
    assert await access.resolve(opened.token + "x", "cookie") is None


@pytest.mark.parametrize(
    ("username", "password"),
    [("physician", "wrong"), ("nobody", PASSWORD), ("", ""), ("phy\0sician", PASSWORD), ("api", PASSWORD)],
)
async def test_a_wrong_name_or_password_gets_one_and_the_same_answer(
    access: Access, username: str, password: str
) -> None:
    with pytest.raises(SignInRefused) as refused:
        await access.sign_in(username, password, "a")
    assert str(refused.value) == "name or secret is wrong"
    assert type(refused.value) is SignInRefused


async def test_an_unknown_name_takes_as_long_as_a_known_one(access: Access) -> None:
    async def seconds(username: str, address: str) -> float:
        begin = time.process_time()
        with pytest.raises(SignInRefused):
            await access.sign_in(username, "wrong", address)
        return time.process_time() - begin

    known = min([await seconds("physician", f"k{n}") for n in range(5)])
    unknown = min([await seconds("nobody", f"u{n}") for n in range(5)])
    # Without the hash for nobody an unknown name is some 30 times faster; with a costlier one it is slower.
    assert known / 2 < unknown < known * 2


async def test_a_session_ends_after_fifteen_minutes_without_use(access: Access, clock: Any) -> None:
    opened = await access.sign_in("clinic", PASSWORD, "a")
    clock.pass_s(14 * 60)
    assert await access.resolve(opened.token, "cookie") is not None
    clock.pass_s(14 * 60)
    assert await access.resolve(opened.token, "cookie") is not None
    clock.pass_s(15 * 60 + 1)
    assert not await access.is_current(opened.token, "cookie")
    assert await access.resolve(opened.token, "cookie") is None


async def test_asking_whether_it_is_current_does_not_keep_a_session_alive(access: Access, clock: Any) -> None:
    opened = await access.sign_in("clinic", PASSWORD, "a")
    for _ in range(3):
        clock.pass_s(5 * 60)
        assert await access.is_current(opened.token, "cookie")
    clock.pass_s(1)
    assert not await access.is_current(opened.token, "cookie")


async def test_a_session_ends_after_twelve_hours_however_busy(access: Access, clock: Any) -> None:
    opened = await access.sign_in("clinic", PASSWORD, "a")
    for _ in range(12 * 6 - 1):
        clock.pass_s(600)
        assert await access.resolve(opened.token, "cookie") is not None
    clock.pass_s(600)
    assert await access.resolve(opened.token, "cookie") is None


async def test_signing_in_again_ends_the_session_before(access: Access) -> None:
    first = await access.sign_in("clinic", PASSWORD, "a")
    second = await access.sign_in("clinic", PASSWORD, "a", first.token)
    assert await access.resolve(first.token, "cookie") is None
    assert second.principal.csrf_token != first.principal.csrf_token


async def test_after_signing_out_the_token_is_worth_nothing(access: Access, audit_of: Any) -> None:
    opened = await access.sign_in("clinic", PASSWORD, "a")
    await access.sign_out(opened.token)
    await access.sign_out(opened.token)
    assert await access.resolve(opened.token, "cookie") is None
    assert [entry[1] for entry in audit_of()] == ["sign-in", "sign-out"]


async def test_an_account_disabled_from_the_command_line_is_out_within_two_seconds(
    access: Access, care: Database, clock: Any
) -> None:
    opened = await access.sign_in("clinic", PASSWORD, "a")
    assert await access.resolve(opened.token, "cookie") is not None
    care.write_blocking(lambda c: c.execute(update(account_table).values(disabled=True)))
    assert await access.present(opened.token, "cookie") is None
    clock.pass_s(2)
    assert await access.resolve(opened.token, "cookie") is None
    with pytest.raises(SignInRefused):
        await access.sign_in("clinic", PASSWORD, "a")


async def test_failures_cost_more_and_more_time_per_name_and_address(access: Access, clock: Any) -> None:
    for _ in range(FREE_FAILURES):
        with pytest.raises(SignInRefused):
            await access.sign_in("clinic", "wrong", "a")
    with pytest.raises(TooManyAttempts) as refused:
        await access.sign_in("clinic", PASSWORD, "a")
    assert refused.value.retry_after_s == pytest.approx(4)
    await access.sign_in("clinic", PASSWORD, "another address")
    clock.pass_s(4.1)
    await access.sign_in("clinic", PASSWORD, "a")
    with pytest.raises(SignInRefused):
        await access.sign_in("clinic", "wrong", "a")


async def test_refusals_and_successes_are_audited_without_the_password(access: Access, audit_of: Any) -> None:
    with pytest.raises(SignInRefused):
        await access.sign_in("clinic", "my secret words", "a")
    await access.sign_in("clinic", PASSWORD, "a")
    assert audit_of() == [
        ("clinic", "sign-in", "account/clinic", "sign-in-refused"),
        ("clinic", "sign-in", "account/clinic", "ok"),
    ]
    assert "my secret words" not in str(audit_of())


def test_the_delay_grows_fast_enough_for_five_tries_in_the_first_minute() -> None:
    assert [delay_s(n) for n in range(8)] == [0, 0, 0, 4, 16, 64, 256, LONGEST_S]
    assert delay_s(1000) == LONGEST_S
    tries_s = [0]
    while tries_s[-1] < 60:
        tries_s.append(tries_s[-1] + delay_s(len(tries_s)))
    assert len(tries_s) - 1 == 5


def test_failures_are_forgotten_after_an_hour_and_remembered_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = Failures()
    for _ in range(10):
        failures.failed("a", "b", 0)
    assert failures.wait_s("a", "b", 1) > 0
    assert failures.wait_s("a", "b", 3601) == 0
    failures.failed("a", "b", 4000)
    assert failures.wait_s("a", "b", 4000) == 0
    monkeypatch.setattr("cloud_hub.access.delay.REMEMBERED", 3)
    for number in range(10):
        failures.failed(str(number), "b", 5000)
    assert len(failures._of) == 3


def test_hashes_are_argon2id_as_strong_as_asked() -> None:
    hashed = hash_password("long enough words")
    assert hashed.startswith(f"$argon2id$v=19$m={MEMORY_KIB},t={ROUNDS},p=1$")
    assert MEMORY_KIB >= 19 * 1024
    with pytest.raises(ValueError, match="at least 12"):
        hash_password("short")


async def test_tries_made_at_once_are_counted_like_tries_one_after_another(access: Access, audit_of: Any) -> None:
    tries = [access.sign_in("clinic", "wrong", "a") for _ in range(40)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(one) for one in answers].count(SignInRefused) == FREE_FAILURES
    assert [type(one) for one in answers].count(TooManyAttempts) == 40 - FREE_FAILURES
    assert len(audit_of()) == FREE_FAILURES


async def test_a_right_password_is_no_failure(access: Access) -> None:
    for _ in range(2 * FREE_FAILURES):
        await access.sign_in("clinic", PASSWORD, "a")


async def test_many_names_tried_from_one_address_leave_another_its_share_and_fill_no_trail(
    access: Access, audit_of: Any
) -> None:
    order: list[str] = []

    async def attempt(username: str, address: str) -> None:
        with pytest.raises(SignInRefused):
            await access.sign_in(username, "amber-birch-cedar-0002", address)
        order.append(address)

    async with asyncio.TaskGroup() as group:
        for number in range(13):
            group.create_task(attempt(f"name-{number}", "crowd"))
        group.create_task(attempt("physician", "clinic"))
    assert order.index("clinic") <= 3
    assert [entry[3] for entry in audit_of()].count("sign-in-refused") == 11
    assert [entry[3] for entry in audit_of()].count("many-refused") == 1
