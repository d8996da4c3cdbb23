"""Consents as this station records and shows them; with the hub gone too (decision 5)."""

from collections.abc import Mapping

from telemed import consent, consent_views, screen
from telemed.consent import Purpose, aggregate_id
from telemed.roles import Role
from telemed.v1 import event_pb2

from edge_node.bedside.ports import Surroundings
from edge_node.bedside.problems import Refusal
from edge_node.errors import NotPermitted
from edge_node.samples.alarm import Who
from edge_node.samples.identifiers import uuid7


def demand(table: Mapping[Purpose, frozenset[Role]], purpose: str, role: str) -> None:
    """Pass where a role may record this, whoever the person is.

    Raises:
        NotPermitted: it may not.
    """
    if role not in table[Purpose(purpose)]:
        raise NotPermitted(f"{role} may not record this of {purpose}")


class ConsentDesk:
    """What people at this station do with consents; the caller has asked `demand`, and whether they see the person."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def of(self, person_id: str, role: str) -> screen.Consents:
        """Return where a person stands on every purpose."""
        roster = self._around.care.roster
        standings = {one: roster.consent(person_id, one) for one in Purpose}
        family = {
            username: screen.Text2(zh=account.name_zh, en=account.name_en)
            for username, account in roster.family_of(person_id).items()
        }
        return consent_views.consents(person_id, standings, family, role, self._around.clock())

    async def give(self, person_id: str, body: screen.ConsentGiveBody, who: Who) -> None:
        """Record that a person, or their guardian, agreed; returns after the synced commit.

        Raises:
            Refusal: the page saw another version, or a field is not as the purpose needs it.
        """
        roster = self._around.care.roster
        given = consent_views.given(person_id, body)
        wrong = consent.lacking(given)
        if 0 < given.until_unix_ns <= self._around.clock():
            wrong.append("until_ms")
        if given.grantee and given.grantee not in roster.family_of(person_id):
            wrong.append("grantee")
        if wrong:
            raise Refusal("bad-input", f"{body.purpose} needs other fields", fields=wrong)
        if body.version != roster.consent(person_id, Purpose(body.purpose)).version:
            raise Refusal("refused-version", "it changed meanwhile")
        event = self._event(person_id, body.purpose, body.version, who)
        event.consent_given.CopyFrom(given)
        await self._around.care.propose(event)

    async def withdraw(self, person_id: str, body: screen.ConsentWithdrawBody, who: Who) -> None:
        """Record that a person takes a consent back; it holds here at once, and at the hub when it hears of it."""
        purpose = Purpose(body.purpose)
        event = self._event(person_id, body.purpose, self._around.care.roster.consent(person_id, purpose).version, who)
        event.consent_withdrawn.CopyFrom(consent_views.withdrawn(person_id, body))
        await self._around.care.propose(event)

    def _event(self, person_id: str, purpose: str, version: int, who: Who) -> event_pb2.Event:
        now_ns = self._around.clock()
        return event_pb2.Event(
            event_id=uuid7(now_ns),
            aggregate_type=consent.AGGREGATE,
            aggregate_id=aggregate_id(person_id, purpose),
            base_version=version,
            at_unix_ns=now_ns,
            actor=event_pb2.Actor(username=who.username, role=who.role, name_zh=who.name_zh, name_en=who.name_en),
        )
