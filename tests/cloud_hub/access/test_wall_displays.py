"""Wall displays: a code opens one session once, which only reads, outlives idleness and ends when revoked."""

import asyncio
import math
from typing import Any

import pytest
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.access import wall_displays
from cloud_hub.access.delay import FREE_FAILURES
from cloud_hub.access.rights import Principal, Right
from cloud_hub.access.sign_in import Access
from cloud_hub.access.wall_displays import WallDisplays
from cloud_hub.errors import NotFound, SignInRefused, TooManyAttempts
from cloud_hub.store import persons
from cloud_hub.store.engine import Database

pytestmark = pytest.mark.anyio
SITE = "baoshan-clinic"
OPERATOR = Principal("operator", Role.OPERATOR, "决明", "Jue Ming", "baoshan", None)


@pytest.fixture
def walls(access: Access, care: Database) -> WallDisplays:
    for site in (SITE, "heming-home"):
        where = ("baoshan", site)
        care.write_blocking(
            lambda c, w=where: persons.describe_node(c, w, "n", event_pb2.NodeDescribed())  # type: ignore[misc]
        )
    return WallDisplays(access)


async def test_a_code_typed_once_opens_a_wall_that_only_shows_its_site(
    walls: WallDisplays, access: Access, audit_of: Any
) -> None:
    made, code = await walls.make(OPERATOR, SITE, "Ward")
    opened = await walls.pair(f" {code[:4].lower()}-{code[4:]} ", "a")
    found = await access.resolve(opened.token, "cookie")
    assert found == opened.principal
    assert (found.role, found.sites) == (Role.DISPLAY, frozenset({SITE}))
    assert found.rights == {Right.SIGNED_IN, Right.SEE_LINKS, Right.SEE_VITALS}
    assert not found.may_read("Observation", "s")
    assert await access.resolve(opened.token, "bearer") is None
    with pytest.raises(SignInRefused):
        await walls.pair(code, "a")
    assert [entry[:2] for entry in audit_of()] == [
        ("operator", "display-made"),
        (f"display/{made.display_id}", "display-paired"),
    ]


async def test_it_does_not_end_by_idleness_but_when_it_is_revoked(
    walls: WallDisplays, access: Access, clock: Any
) -> None:
    made, code = await walls.make(OPERATOR, SITE, "Ward")
    opened = await walls.pair(code, "a")
    clock.pass_s(30 * 86_400)
    assert await access.resolve(opened.token, "cookie") is not None
    assert [one.display_id for one in await walls.listed(OPERATOR)] == [made.display_id]
    await walls.revoke(OPERATOR, made.display_id)
    assert await access.resolve(opened.token, "cookie") is None
    assert await walls.listed(OPERATOR) == []
    with pytest.raises(NotFound):
        await walls.revoke(OPERATOR, made.display_id)


async def test_a_code_is_worth_nothing_after_ten_minutes_or_once_revoked(walls: WallDisplays, clock: Any) -> None:
    _, late = await walls.make(OPERATOR, SITE, "Late")
    made, revoked = await walls.make(OPERATOR, SITE, "Revoked")
    await walls.revoke(OPERATOR, made.display_id)
    with pytest.raises(SignInRefused):
        await walls.pair(revoked, "a")
    clock.pass_s(wall_displays.CODE_S)
    for wrong in (late, "", "--"):
        with pytest.raises(SignInRefused):
            await walls.pair(wrong, wrong)


async def test_guessing_codes_waits_longer_and_longer(walls: WallDisplays) -> None:
    _, code = await walls.make(OPERATOR, SITE, "Ward")
    for _ in range(3):
        with pytest.raises(SignInRefused):
            await walls.pair("WRONG234", "a")
    with pytest.raises(TooManyAttempts):
        await walls.pair(code, "a")
    await walls.pair(code, "another address")


async def test_an_operator_makes_and_revokes_only_at_their_own_sites(walls: WallDisplays) -> None:
    made, _ = await walls.make(OPERATOR, SITE, "Ward")
    other = Principal("o2", Role.OPERATOR, "", "", "baoshan", frozenset({"heming-home"}))
    with pytest.raises(NotFound):
        await walls.make(other, SITE, "Ward")
    with pytest.raises(NotFound):
        await walls.make(OPERATOR, "no-such-site", "Ward")
    with pytest.raises(NotFound):
        await walls.revoke(other, made.display_id)
    assert await walls.listed(other) == []


async def test_codes_guessed_at_once_are_counted_like_codes_one_after_another(walls: WallDisplays) -> None:
    answers = await asyncio.gather(*[walls.pair("WRONG234", "a") for _ in range(40)], return_exceptions=True)
    assert [type(one) for one in answers].count(SignInRefused) == FREE_FAILURES
    assert [type(one) for one in answers].count(TooManyAttempts) == 40 - FREE_FAILURES


async def test_a_code_has_39_bits_and_none_comes_twice(walls: WallDisplays) -> None:
    codes = [(await walls.make(OPERATOR, SITE, f"Ward {number}"))[1] for number in range(100)]
    letters = len(set("".join(codes)))
    assert {len(code) * math.log2(letters) > 39 for code in codes} == {True}
    assert len(set(codes)) == len(codes)
