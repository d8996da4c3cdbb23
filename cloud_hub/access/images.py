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
    if named is not None and narrowing.persons is not None:
        named = named & narrowing.persons
    narrowed = replace(
        narrowing,
        sites=_both(circle.sites, narrowing.sites),
        persons=narrowing.persons if circle.named is None else named,
    )
    for study in studies.studies(connection, principal.region, narrowed):
        if shows(circle, study):
            yield study


def audited(principal: Principal, study: Study) -> tuple[str, str]:
    """Return what the audit trail names when a study is shown, and what it says came of it."""
    if not study.person_id:
        return f"ImagingStudy/{study.study_key}", "ok"
    return f"Patient/{study.person_id}", result_of_read(principal, study.person_id)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
