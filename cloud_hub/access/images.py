"""Whose images somebody may open: as their record, and until a study's manifest came only within its own site.

Deny by default.  A study that its site could not give to a person is shown as whatever else is filed under nobody.
"""

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection
from telemed.roles import ELSEWHERE

from cloud_hub.access.rights import Principal, result_of_read
from cloud_hub.access.treating import Circle, circle_of
from cloud_hub.store import studies
from cloud_hub.store.studies import Narrowing, Study

NAMED_MOST = 2000
"""Of more persons than these the database is not asked by name."""


def shows(circle: Circle, study: Study) -> bool:
    """True where a study is open to somebody."""
    if study.person_id is None:
        # Whose it is comes with the manifest, and with it whether they said no to being seen elsewhere.
        return circle.principal.role not in ELSEWHERE and circle.sees(study.site, None)
    return circle.sees(study.site, study.person_id or None)


def seen(connection: Connection, principal: Principal, narrowing: Narrowing) -> Iterator[Study]:
    """Yield the studies that are open to somebody, the newest day first; to be taken within the transaction."""
    circle = circle_of(connection, principal)
    named = circle.named
    treated = _treated(circle)
    if named is not None and narrowing.persons is not None:
        named = named & narrowing.persons
    narrowed = replace(
        narrowing,
        sites=_both(circle.sites, narrowing.sites),
        persons=narrowing.persons if circle.named is None else named,
        filed_under=treated if treated is not None else narrowing.filed_under,
    )
    for study in studies.studies(connection, principal.region, narrowed):
        if shows(circle, study):
            yield study


def _treated(circle: Circle) -> frozenset[str] | None:
    """Return under whom all that is open to somebody is filed, nobody too; None where they are not few."""
    # Whose manifest has not come is filed under no name, and shown at its own site.
    if circle.under_care is None or circle.principal.role not in ELSEWHERE:
        return None
    found = circle.under_care | {person_id for _, person_id in circle.principal.opened} | {""}
    return found if len(found) <= NAMED_MOST else None


def audited(principal: Principal, study: Study) -> tuple[str, str]:
    """Return what the audit trail names when a study is shown, and what it says came of it."""
    if not study.person_id:
        return f"ImagingStudy/{study.study_key}", "ok"
    return f"Patient/{study.person_id}", result_of_read(principal, study.person_id)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
