"""Breaking the glass (clinical 9.2): a closed record is opened in an emergency, by name, with a reason, for a while.

Whoever does it proves once more who they are.  The doctors of the person's site and the privacy officers are told
at once, and each opening is reviewed within 72 hours by somebody else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy import Connection
from telemed.consent import Purpose
from telemed.roles import Role

from cloud_hub.access import treating
from cloud_hub.access.rights import Principal
from cloud_hub.access.sign_in import NS_PER_S, Access
from cloud_hub.care.identifiers import uuid7
from cloud_hub.errors import BadRequest, NotFound, NotPermitted, StepRefused
from cloud_hub.store import accounts, broken_glass, consents, persons
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.broken_glass import Broken
from cloud_hub.store.persons import Person

T = TypeVar("T")
OPEN_S, REVIEW_WITHIN_S = 30 * 60, 72 * 3600
REASONS = ("emergency", "cover", "transfer", "public-health", "other")
"""Treatment of an emergency; covering for a colleague; a transfer under way; a public-health duty; in words."""
LEAST_WORDS = 5
"""Characters of the reason in words: it is read by those who review it."""
WITHOUT_CONSENT = "emergency-without-consent"
"""Action of the audit entry beside what was done for somebody who did not agree to being shown elsewhere."""
VERDICTS = ("justified", "unjustified")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a record must be opened."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What proves once more who somebody is."""

    password: str
    code: str
    address: str


class Glass:
    """Opens records, and keeps the queue of reviews."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def smash(self, principal: Principal, person: str, reason: Reason, proof: Proof) -> Broken:
        """Open the record of a person, named by id or by an identifier exactly.

        Raises:
            BadRequest: no reason that can be reviewed.
            TooManyAttempts, SignInRefused: the proof does not hold.
            NotFound: no such person in the region.
            StepRefused: the record is open to this person anyway.
        """
        check_reason(reason)
        await self._access.reauthenticate(principal, proof.password, proof.code, proof.address)
        now_ns = self._access.now_ns()

        def work(connection: Connection) -> Broken:
            found = _person(connection, principal.region, person)
            # By the rows, for a press before this one may have opened it since the principal was found.
            mine = broken_glass.open_of(connection, principal.username, now_ns)
            present = replace(principal, opened=frozenset((one.site, one.person_id) for one in mine))
            if treating.opens(connection, present, found.site, found.person_id):
                raise StepRefused("this record is open to you", [])
            made = Broken(
                break_id=uuid7(now_ns),
                region=found.region,
                site=found.site,
                person_id=found.person_id,
                username=principal.username,
                role=principal.role,
                reason_code=reason.code,
                text=reason.text.strip(),
                opened_ns=now_ns,
                until_ns=now_ns + OPEN_S * NS_PER_S,
                due_ns=now_ns + REVIEW_WITHIN_S * NS_PER_S,
            )
            broken_glass.save(connection, made, set(_to_be_told(connection, found)) - {principal.username})
            self._audit(connection, principal, "break-glass", made)
            if not consents.permits(connection, made.person_id, Purpose.SHARING, now_ns):
                self._audit(connection, principal, WITHOUT_CONSENT, made)
            return made

        return await self._write(work)

    async def renew(self, principal: Principal, break_id: str, proof: Proof) -> Broken:
        """Let an opening last another half hour, once.

        Raises:
            TooManyAttempts, SignInRefused: the proof does not hold.
            NotFound: no such opening of one's own.
            StepRefused: it is over, or was renewed before.
        """
        await self._access.reauthenticate(principal, proof.password, proof.code, proof.address)
        now_ns = self._access.now_ns()

        def work(connection: Connection) -> Broken:
            mine = _own(connection, principal, break_id)
            until_ns = mine.until_ns + OPEN_S * NS_PER_S
            if mine.until_ns <= now_ns or not broken_glass.extend(connection, break_id, until_ns):
                raise StepRefused("it is over, or was renewed before", [])
            self._audit(connection, principal, "break-glass-renew", mine)
            return _own(connection, principal, break_id)

        return await self._write(work)

    async def close(self, principal: Principal, break_id: str) -> None:
        """Close a record before its time.

        Raises:
            NotFound: no such opening of one's own.
        """

        def work(connection: Connection) -> None:
            mine = _own(connection, principal, break_id)
            broken_glass.end(connection, break_id, self._access.now_ns())
            self._audit(connection, principal, "break-glass-close", mine)

        await self._write(work)

    async def mine(self, principal: Principal) -> list[Broken]:
        """Return what one has open now."""
        now_ns = self._access.now_ns()
        return await self._access.database.read(lambda c: broken_glass.open_of(c, principal.username, now_ns))

    async def owed(self, principal: Principal) -> list[Broken]:
        """Return the openings within scope whose review is owed, most urgent first."""
        return await self._access.database.read(lambda c: broken_glass.owed(c, principal.region, principal.sites))

    async def review(self, principal: Principal, break_id: str, verdict: str, text: str) -> None:
        """Close the review of an opening.

        Raises:
            BadRequest: no such verdict, or none in words.
            NotFound: no such opening within scope.
            NotPermitted: one's own opening.
            StepRefused: it was reviewed already.
        """
        if verdict not in VERDICTS or len(text.strip()) < LEAST_WORDS:
            raise BadRequest("a verdict and a reason in words are needed", ["body.verdict", "body.text"])

        def work(connection: Connection) -> None:
            found = broken_glass.broken(connection, principal.region, break_id)
            if found is None or not principal.sees_site(found.site):
                raise NotFound("no such opening within scope")
            if found.username == principal.username:
                raise NotPermitted("nobody reviews what they did themselves")
            now_ns = self._access.now_ns()
            if not broken_glass.review(connection, break_id, principal.username, verdict, text.strip(), now_ns):
                raise StepRefused("it was reviewed already", [])
            self._audit(connection, principal, f"break-glass-{verdict}", found)

        await self._write(work)

    async def unseen(self, principal: Principal) -> list[Broken]:
        """Return the openings of which one is told and which one has not seen yet."""
        return await self._access.database.read(lambda c: broken_glass.unseen_by(c, principal.username))

    async def saw(self, principal: Principal, break_id: str) -> None:
        """Note that one has seen of an opening; harmless where one was not told."""
        now_ns = self._access.now_ns()
        await self._access.database.write(lambda c: broken_glass.saw(c, break_id, principal.username, now_ns))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        done = await self._access.database.write(work)
        self._access.forget()
        return done

    def _audit(self, connection: Connection, principal: Principal, action: str, found: Broken) -> None:
        now_ns, place = self._access.now_ns(), (found.region, found.site)
        for target in (f"Patient/{found.person_id}", f"break-glass/{found.break_id}"):
            entry = AuditEntry(now_ns, principal.username, principal.role, action, target, "ok", *place)
            accounts.write_audit(connection, entry)


def check_reason(reason: Reason) -> None:
    """Pass where a reason can be reviewed.

    Raises:
        BadRequest: no such code, or too few words.
    """
    if reason.code not in REASONS:
        raise BadRequest("no such reason", ["body.reason_code"])
    if len(reason.text.strip()) < LEAST_WORDS:
        raise BadRequest("the reason is needed in words", ["body.text"])


def _person(connection: Connection, region: str, named: str) -> Person:
    """A person by id or by one identifier exactly; two of the same identifier are nobody."""
    found = persons.person(connection, region, named)
    if found is not None:
        return found
    alike = persons.persons_after(connection, region, None, "", 10, named) if named.strip() else []
    exact = [one for one in alike if named in (value for _, value in one.identifiers)]
    if len(exact) != 1:
        raise NotFound("no such person")
    return exact[0]


def _own(connection: Connection, principal: Principal, break_id: str) -> Broken:
    found = broken_glass.broken(connection, principal.region, break_id)
    if found is None or found.username != principal.username:
        raise NotFound("no such opening")
    return found


def _to_be_told(connection: Connection, person: Person) -> Iterator[str]:
    """The doctors of the person's site, who answer for them, and the region's auditors as privacy officers."""
    for account in accounts.accounts(connection):
        is_theirs = account.role is Role.CLINIC and person.site in account.sites
        if not account.disabled and (is_theirs or account.role is Role.AUDITOR):
            yield account.username
