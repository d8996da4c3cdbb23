"""Breaking the glass: with a reason and a second proof, for half an hour, told to others, reviewed by others."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.access import treating
from cloud_hub.access.glass import OPEN_S, REVIEW_WITHIN_S, Glass, Proof, Reason
from cloud_hub.access.rights import Principal
from cloud_hub.access.sign_in import Access
from cloud_hub.errors import BadRequest, NotFound, NotPermitted, SignInRefused, StepRefused
from cloud_hub.store import accounts, persons
from cloud_hub.store.accounts import Account
from cloud_hub.store.engine import Database
from tests.cloud_hub.access.conftest import PASSWORD

pytestmark = pytest.mark.anyio
SITE, FAR_SITE = "baoshan-clinic", "far-clinic"
AUDITOR = Principal("auditor", Role.AUDITOR, "审", "Auditor", "baoshan", None)
REASON = Reason("emergency", "unconscious in our emergency room")
PROOF = Proof(PASSWORD, "", "a")


@pytest.fixture
def glass(access: Access, care: Database, hashed: str) -> Glass:
    def work(connection: Any) -> None:
        for account in (
            Account("far-doctor", Role.CLINIC, "远", "Far", (FAR_SITE,), hashed),
            Account("auditor", Role.AUDITOR, "审", "Auditor", (), hashed),
        ):
            accounts.save_account(connection, account, 1)
        body = event_pb2.PersonRegistered(identifiers=[event_pb2.Identifier(system="NATIONAL", value="510182-0093")])
        persons.save_person(connection, ("baoshan", FAR_SITE), "p-1", body, 1)

    care.write_blocking(work)
    return Glass(access)


async def doctor(access: Access, name: str = "clinic") -> Principal:
    return (await access.sign_in(name, PASSWORD, "a")).principal


async def now(access: Access, name: str = "clinic") -> Principal:
    """The doctor as found with the next request."""
    return await doctor(access, name)


def is_open(care: Database, who: Principal) -> bool:
    return care.read_blocking(lambda c: treating.opens(c, who, FAR_SITE, "p-1"))


async def test_a_closed_record_is_open_for_half_an_hour_and_then_closed_again(
    glass: Glass, access: Access, care: Database, clock: Any
) -> None:
    who = await doctor(access)
    assert not is_open(care, who)
    broken = await glass.smash(who, "510182-0093", REASON, PROOF)
    assert (broken.person_id, broken.until_ns) == ("p-1", clock() + OPEN_S * 10**9)
    assert is_open(care, await now(access))
    assert not is_open(care, await now(access, "physician"))
    clock.pass_s(OPEN_S)
    assert not is_open(care, await now(access))
    assert await glass.mine(who) == []


async def test_it_is_renewed_once_and_may_be_closed_early(
    glass: Glass, access: Access, care: Database, clock: Any
) -> None:
    who = await doctor(access)
    broken = await glass.smash(who, "p-1", REASON, PROOF)
    clock.pass_s(OPEN_S - 1)
    assert (await glass.renew(who, broken.break_id, PROOF)).until_ns == broken.until_ns + OPEN_S * 10**9
    with pytest.raises(StepRefused):
        await glass.renew(who, broken.break_id, PROOF)
    with pytest.raises(NotFound):
        await glass.close(await doctor(access, "physician"), broken.break_id)
    await glass.close(who, broken.break_id)
    assert not is_open(care, await now(access))


async def test_without_a_second_proof_or_a_reason_in_words_nothing_opens(
    glass: Glass, access: Access, audit_of: Any
) -> None:
    who = await doctor(access)
    with pytest.raises(SignInRefused):
        await glass.smash(who, "p-1", REASON, Proof("wrong", "", "a"))
    for reason in (Reason("emergency", " . "), Reason("curiosity", "I should like to know")):
        with pytest.raises(BadRequest):
            await glass.smash(who, "p-1", reason, PROOF)
    assert await glass.mine(who) == []
    assert not [entry for entry in audit_of() if entry[1] == "break-glass"]


async def test_only_a_known_person_whose_record_is_closed_can_be_opened(
    glass: Glass, access: Access, care: Database
) -> None:
    who = await doctor(access)
    for named in ("nobody", "510182", "", "%"):
        with pytest.raises(NotFound):
            await glass.smash(who, named, REASON, PROOF)
    with pytest.raises(StepRefused):
        await glass.smash(await doctor(access, "far-doctor"), "p-1", REASON, PROOF)


async def test_the_doctors_of_the_person_and_the_privacy_officer_are_told_at_once(glass: Glass, access: Access) -> None:
    broken = await glass.smash(await doctor(access), "p-1", REASON, PROOF)
    theirs = await doctor(access, "far-doctor")
    assert [one.break_id for one in await glass.unseen(theirs)] == [broken.break_id]
    assert [one.text for one in await glass.unseen(AUDITOR)] == [REASON.text]
    assert await glass.unseen(await doctor(access, "physician")) == []
    await glass.saw(theirs, broken.break_id)
    assert await glass.unseen(theirs) == []
    assert len(await glass.unseen(AUDITOR)) == 1


async def test_each_opening_is_reviewed_within_72_hours_by_somebody_else(
    glass: Glass, access: Access, clock: Any, audit_of: Any
) -> None:
    who = await doctor(access)
    broken = await glass.smash(who, "p-1", REASON, PROOF)
    assert broken.due_ns == clock() + REVIEW_WITHIN_S * 10**9
    assert [one.break_id for one in await glass.owed(AUDITOR)] == [broken.break_id]
    elsewhere = Principal("admin", Role.SITE_ADMIN, "", "", "baoshan", frozenset({SITE}))
    assert await glass.owed(elsewhere) == []
    with pytest.raises(NotFound):
        await glass.review(elsewhere, broken.break_id, "justified", "looks right")
    with pytest.raises(NotPermitted):
        await glass.review(replace(AUDITOR, username="clinic"), broken.break_id, "justified", "looks right")
    with pytest.raises(BadRequest):
        await glass.review(AUDITOR, broken.break_id, "justified", "")
    await glass.review(AUDITOR, broken.break_id, "unjustified", "no emergency was found")
    with pytest.raises(StepRefused):
        await glass.review(AUDITOR, broken.break_id, "justified", "after all it was")
    assert await glass.owed(AUDITOR) == []
    assert [entry[:3] for entry in audit_of() if entry[1].startswith("break-glass")] == [
        (who, action, target)
        for who, action in (("clinic", "break-glass"), ("auditor", "break-glass-unjustified"))
        for target in ("Patient/p-1", f"break-glass/{broken.break_id}")
    ]


async def test_two_presses_break_the_glass_once(glass: Glass, access: Access, audit_of: Any) -> None:
    who = await doctor(access)
    presses = [glass.smash(who, "p-1", REASON, PROOF) for _ in range(2)]
    answers = await asyncio.gather(*presses, return_exceptions=True)
    assert sorted(type(one).__name__ for one in answers) == ["Broken", "StepRefused"]
    assert len(await glass.mine(who)) == 1
    assert len([entry for entry in audit_of() if entry[1:3] == ("break-glass", "Patient/p-1")]) == 1


async def test_what_was_closed_a_moment_ago_can_be_opened_again(glass: Glass, access: Access) -> None:
    broken = await glass.smash(await doctor(access), "p-1", REASON, PROOF)
    as_it_was = await now(access)
    await glass.close(as_it_was, broken.break_id)
    assert (await glass.smash(as_it_was, "p-1", REASON, PROOF)).break_id != broken.break_id
