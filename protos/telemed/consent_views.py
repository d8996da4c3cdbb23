"""How a person's consents are shown and written; the same at the bedside and at the hub."""

from collections.abc import Mapping

from telemed import consent, screen
from telemed.consent import GIVEN_BY, NAMED, TIMED, WITHDRAWN_BY, Grant, Purpose, Standing
from telemed.v1 import event_pb2

MS = 1_000_000
Names = Mapping[str, screen.Text2]
"""User name to what people are called."""


def consents(
    person_id: str, standings: Mapping[Purpose, Standing], family: Names, role: str, now_ns: int
) -> screen.Consents:
    """Return all purposes of a person as a page shows them to a role; `family` are those who may be given access."""
    return screen.Consents(
        person_id=person_id,
        consents=[_view(one, standings.get(one, Standing()), family, role, now_ns) for one in Purpose],
        family=[screen.Relative(username=username, name=name) for username, name in sorted(family.items())],
    )


def given(person_id: str, body: screen.ConsentGiveBody) -> event_pb2.ConsentGiven:
    """Return the event's content for what a page sent."""
    return event_pb2.ConsentGiven(
        person_id=person_id,
        purpose=body.purpose,
        grantee=body.grantee,
        until_unix_ns=(body.until_ms or 0) * MS,
        giver=body.giver,
        giver_name=body.giver_name.strip(),
        method=body.method,
        text_version=consent.TEXT_VERSION,
        language=body.language,
    )


def withdrawn(person_id: str, body: screen.ConsentWithdrawBody) -> event_pb2.ConsentWithdrawn:
    """Return the event's content for what a page sent."""
    return event_pb2.ConsentWithdrawn(
        person_id=person_id, purpose=body.purpose, grantee=body.grantee, reason=body.reason.strip()
    )


def _view(purpose: Purpose, standing: Standing, family: Names, role: str, now_ns: int) -> screen.ConsentView:
    grants = [_grant(one, family) for one in standing.grants if one.holds(now_ns)]
    ended_ms = standing.ended_ns // MS or None
    return screen.ConsentView(
        purpose=purpose.value,
        version=standing.version,
        state="given" if grants else "withdrawn" if ended_ms or standing.grants else "never",
        grants=grants,
        ended_ms=ended_ms,
        needs_name=purpose in NAMED,
        needs_end=purpose in TIMED,
        may_give=role in GIVEN_BY[purpose],
        may_withdraw=role in WITHDRAWN_BY[purpose],
        pending=standing.is_pending,
        refused=standing.refused,
    )


def _grant(one: Grant, family: Names) -> screen.ConsentGrant:
    return screen.ConsentGrant.model_validate(
        {
            "grantee": one.grantee,
            "grantee_name": family.get(one.grantee),
            "since_ms": one.since_ns // MS,
            "until_ms": one.until_ns // MS or None,
            "giver": one.giver,
            "giver_name": one.giver_name,
            "method": one.method,
            "recorded_by": screen.Text2(zh=one.author.name_zh, en=one.author.name_en),
        }
    )
