"""The conflict table (decision 5): for each kind of event who may make it, what decides, and who is asked.

`docs/two-way-sync.md` shows the same table to people; a test holds the two together.
"""

from dataclasses import dataclass
from enum import StrEnum


class Wins(StrEnum):
    """What decides between two events made without knowledge of each other."""

    FIRST_AT_HUB = "first-at-hub"  # the version counts; the later one is refused and its author is shown why
    LAST_AT_HUB = "last-at-hub"  # a statement about the present; each replaces the one before
    BOTH = "both"  # facts that only add up
    NO = "no"  # a withdrawal counts whatever its author had seen; who gave anew is asked
    EDGE = "edge"  # the edge owns the thing; the hub asks, the edge answers
    HUB = "hub"  # made at the hub alone


class Origin(StrEnum):
    """Where an event may be born."""

    EDGE = "edge"
    HUB = "hub"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Rule:
    """How events of one kind meet."""

    aggregate_type: str
    origin: Origin
    wins: Wins
    asked: str
    """Who is asked when an event lost: a role, or empty where nobody needs to be."""


RULES: dict[str, Rule] = {
    "person_registered": Rule("person", Origin.EITHER, Wins.FIRST_AT_HUB, "clinic"),
    "person_erased": Rule("person", Origin.HUB, Wins.HUB, ""),
    "bed_assigned": Rule("bed", Origin.EITHER, Wins.FIRST_AT_HUB, "clinic"),
    "bed_vacated": Rule("bed", Origin.EITHER, Wins.FIRST_AT_HUB, "clinic"),
    "device_placed": Rule("device", Origin.EDGE, Wins.LAST_AT_HUB, ""),
    "node_described": Rule("node", Origin.EDGE, Wins.LAST_AT_HUB, ""),
    "referral_submitted": Rule("referral", Origin.EITHER, Wins.FIRST_AT_HUB, "clinic"),
    "referral_moved": Rule("referral", Origin.EITHER, Wins.FIRST_AT_HUB, "clinic"),
    "alarm_action": Rule("alarm", Origin.HUB, Wins.EDGE, ""),
    "account_set": Rule("account", Origin.HUB, Wins.HUB, ""),
    "consent_given": Rule("consent", Origin.EITHER, Wins.FIRST_AT_HUB, "clinic"),
    "consent_withdrawn": Rule("consent", Origin.EITHER, Wins.NO, ""),
    "consult_logged": Rule("consult", Origin.EITHER, Wins.BOTH, ""),
}
"""By body of the event."""
