"""What the routes ask of the index: each function runs in a reader thread, within one scope."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.errors import BadRequest, NotFound
from cloud_hub.imaging.attributes import Level
from cloud_hub.imaging.matching import Query
from cloud_hub.store import studies
from cloud_hub.store.studies import DAY, TOO_BROAD, Instance, Narrowing, Series, Study

Told = dict[str, Any]
RETRIEVE_URL, AVAILABILITY = "00081190", "00080056"
WALK_MOST = 20_000
"""How many studies a search looks at, and how many rows below them, unless it names studies: a few seconds' work."""


@dataclass(frozen=True, slots=True)
class Uids:
    """What is asked for, from the outside in; empty: all."""

    study: str = ""
    series: str = ""
    sop: str = ""

    @property
    def path(self) -> str:
        """Address below the root of the service."""
        parts = (("studies", self.study), ("series", self.series), ("instances", self.sop))
        return "".join(f"/{name}/{uid}" for name, uid in parts if uid)


@dataclass(frozen=True, slots=True)
class Found:
    """Instances that are open to somebody, with the studies they belong to."""

    studies: dict[str, Study]
    """By their keys."""
    instances: list[Instance]
    """One version of each, in order."""
    other_versions: int = 0
    """Of the one instance that is asked for: how many more there are."""

    def uids(self, instance: Instance) -> Uids:
        """Return the identifiers of an instance."""
        return Uids(self.studies[instance.study_key].study_uid, instance.series_uid, instance.sop_uid)


@dataclass(frozen=True, slots=True)
class Page:
    """Results of a search."""

    told: list[Told]
    shown: list[Study]
    has_more: bool


class _Walk:
    """Counts what one search looks at below its studies."""

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0

    def step(self, rows: int) -> None:
        """Count rows that are looked at next.

        Raises:
            BadRequest: there were too many before them.
        """
        if 0 < self._most < self._count:
            raise BadRequest(f"more than {self._most} series and images to look through: {TOO_BROAD}", [DAY])
        self._count += rows


def find(connection: Connection, principal: Principal, uids: Uids, version: int = 0) -> Found:
    """Return the instances of a study, series or of one.

    Args:
        connection: of the care store.
        principal: who asks.
        uids: of what.
        version: of one instance; 0: the one that counts, which is what came first and is no preview.

    Raises:
        NotFound: there is none that is open to this principal.
    """
    narrowing = Narrowing(study_uids=frozenset({uids.study}))
    seen = {one.study_key: one for one in images.seen(connection, principal, narrowing)}
    found = studies.instances_of(connection, seen, uids.series, uids.sop)
    chosen = [one for one in found if one.version == version] if version else found
    counting = _counting(chosen)
    if not counting:
        raise NotFound("no such images within scope")
    keys = {one.study_key for one in counting}
    versions = {one.version for one in found if not one.is_preview}
    others = len(versions) - 1 if uids.sop and versions else 0
    return Found({key: one for key, one in seen.items() if key in keys}, counting, others)


def search(connection: Connection, principal: Principal, query: Query, uids: Uids, address: str) -> Page:
    """Return the page of a search; `address` is that of the service, for what is found to be fetched by."""
    wanted = query.offset + query.limit + 1
    found = list(islice(_matches(connection, principal, query, uids, address), query.offset, wanted))
    told = [query.told(one) for _, one in found[: query.limit]]
    shown = {study.study_key: study for study, _ in found[: query.limit]}
    return Page(told, list(shown.values()), len(found) > query.limit)


def study_told(study: Study) -> Told:
    """Return a study in DICOM JSON, with what the hub counted."""
    return study.attributes | {
        "00080061": {"vr": "CS", "Value": list(study.modalities)},
        "00201206": {"vr": "IS", "Value": [study.series_count]},
        "00201208": {"vr": "IS", "Value": [study.instance_count]},
        AVAILABILITY: {"vr": "CS", "Value": ["ONLINE"]},
    }


def _matches(
    connection: Connection, principal: Principal, query: Query, uids: Uids, address: str
) -> Iterator[tuple[Study, Told]]:
    narrowing = _narrowing(query, uids)
    walk = _Walk(narrowing.walked_most)
    for study in images.seen(connection, principal, narrowing):
        told = study_told(study)
        if not all(key.fits(told) for key in query.of(Level.STUDY)):
            continue
        base = Uids(study.study_uid)
        if query.level is Level.STUDY:
            yield study, _at(told, address, base)
            continue
        above = told if not uids.study else {"0020000D": told.get("0020000D", {"vr": "UI"})}
        for series in studies.series_of(connection, {study.study_key}):
            walk.step(1)
            yield from ((study, one) for one in _below(connection, query, uids, (series, above, base, address), walk))


def _below(
    connection: Connection, query: Query, uids: Uids, within: tuple[Series, Told, Uids, str], walk: _Walk
) -> Iterator[Told]:
    series, above, base, address = within
    told = series.attributes | {"00201209": {"vr": "IS", "Value": [series.instance_count]}}
    is_asked = uids.series in ("", series.series_uid)
    if not is_asked or not all(key.fits(told) for key in query.of(Level.SERIES)):
        return
    here = replace(base, series=series.series_uid)
    if query.level is Level.SERIES:
        yield _at(above | told, address, here)
        return
    over = above | (told if not uids.series else {"0020000E": told.get("0020000E", {"vr": "UI"})})
    walk.step(series.instance_count)
    for instance in _counting(studies.instances_of(connection, {series.study_key}, series.series_uid)):
        if all(key.fits(instance.attributes) for key in query.of(Level.INSTANCE)):
            syntax = {"00083002": {"vr": "UI", "Value": [instance.transfer_syntax_uid]}}
            yield _at(over | instance.attributes | syntax, address, replace(here, sop=instance.sop_uid))


def _narrowing(query: Query, uids: Uids) -> Narrowing:
    asked = query.listed("StudyInstanceUID")
    if uids.study:
        asked = frozenset({uids.study}) & (asked if asked is not None else {uids.study})
    series = frozenset({uids.series}) if uids.series else query.listed("SeriesInstanceUID")
    days = next((key.span for key in query.keys if key.attribute.keyword == "StudyDate" and key.value), ("", ""))
    found = Narrowing(study_uids=asked, series_uids=series, sop_uids=query.listed("SOPInstanceUID"), dates=days)
    return found if found.names_few else replace(found, walked_most=WALK_MOST)


def _counting(found: list[Instance]) -> list[Instance]:
    """Return one version of each instance: no preview where there is the whole, and the earliest."""
    by_uid = sorted(found, key=lambda one: (one.sop_uid, one.is_preview, one.version, one.study_key))
    best = [next(group) for _, group in groupby(by_uid, key=lambda one: one.sop_uid)]
    return sorted(best, key=lambda one: (one.series_uid, one.instance_number, one.sop_uid))


def _at(told: Told, address: str, uids: Uids) -> Told:
    return told | {RETRIEVE_URL: {"vr": "UR", "Value": [address + uids.path]}}
