"""The pages that listen: a bounded queue for each, and who may hear what."""

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

from cloud_hub.access.rights import Principal, Right

QUEUE_LIMIT = 512
"""Messages that may wait for a page; a page that falls further behind is given a fresh snapshot instead."""

Kind = Literal["bed", "site", "alarm", "technical", "referral", "consult"]
_NEEDED: dict[Kind, Right] = {
    "bed": Right.SEE_VITALS,
    "alarm": Right.SEE_VITALS,
    "technical": Right.SEE_LINKS,
    "site": Right.SEE_LINKS,
    "referral": Right.SEE_REFERRALS,
    "consult": Right.JOIN_CONSULT,
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message for all pages that may hear it; its JSON is made once for each of the two audiences."""

    kind: Kind
    site: str
    person_id: str
    full: str
    reduced: str
    """For caregivers; empty = nothing for them."""


class Feed:
    """One page's queue.  Used on the event loop alone."""

    def __init__(self, principal: Principal, client: str) -> None:
        self.principal = principal
        self.client = client
        """Names this page among those a person has open."""
        self.watched: frozenset[str] = frozenset()
        """Keys of the beds whose waves this page asked for."""
        self.shown: set[str] = set()
        """Persons of whom this page was told something, for the audit trail."""
        self.has_unwritten = False
        """Whether somebody among them is not written down yet."""
        self.rights_changed = asyncio.Event()
        """Set where what its person may see has to be looked up now."""
        self._waiting: deque[str] = deque()
        self._wake = asyncio.Event()
        self._wants_snapshot = True
        self._wake.set()

    def belongs_to(self, principal: Principal) -> None:
        """Take what its person may see now; where that changed, the page is drawn anew."""
        if principal != self.principal:
            self.principal = principal
            self.ask_snapshot()

    def loses(self, person_id: str) -> None:
        """Show no more of a person from now on, before anything is looked up."""
        own = self.principal.persons
        if own is None:
            self.belongs_to(replace(self.principal, withheld=self.principal.withheld | {person_id}))
        else:
            self.belongs_to(replace(self.principal, persons=own - {person_id}))

    def offer(self, message: Message) -> None:
        """Queue a message if this page may hear it."""
        text = text_for(self.principal, message)
        if text:
            if message.person_id and message.person_id not in self.shown:
                self.shown.add(message.person_id)
                self.has_unwritten = True
            self.put(text)

    def put(self, text: str) -> None:
        """Queue a text for this page; where too many wait, all are dropped for a fresh snapshot."""
        self._wake.set()
        if self._wants_snapshot:
            return
        if len(self._waiting) >= QUEUE_LIMIT:
            self.ask_snapshot()
            return
        self._waiting.append(text)

    def ask_snapshot(self) -> None:
        """Give this page everything anew."""
        self._waiting.clear()
        self._wants_snapshot = True
        self._wake.set()

    async def next(self) -> str | None:
        """Wait for the next text; None says that the page must be given a snapshot now."""
        while not self._wants_snapshot and not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        if self._wants_snapshot:
            self._wants_snapshot = False
            return None
        return self._waiting.popleft()


def text_for(principal: Principal, message: Message) -> str:
    """Return what this principal is told of a message; empty where it is not for them."""
    if not principal.may(_NEEDED[message.kind]):
        return ""
    if not principal.sees_site(message.site):
        is_opened = (message.site, message.person_id) in principal.opened and message.kind in ("bed", "alarm")
        return message.full if is_opened else ""
    if message.kind == "bed" and message.person_id and not sees_person(principal, message.site, message.person_id):
        # Whoever took sharing back is not shown; their alarms and referrals go on (docs/consent.md).
        return ""
    if principal.sees_own_only:
        if not sees_person(principal, message.site, message.person_id):
            return ""
        # Whoever must act on an alarm at the bed has to see who has it already.
        return message.full if message.kind == "alarm" and principal.may(Right.ACT_ON_ALARM) else message.reduced
    return message.full


def sees_person(principal: Principal, site: str, person_id: str) -> bool:
    """True where this person is within scope; a bed without a person is for those who see all of the site."""
    if not person_id:
        return principal.sees_site(site) and principal.persons is None
    return principal.sees_person(site, person_id)
