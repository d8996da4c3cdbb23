"""What the routes ask of the index: each function runs in a reader thread, within one scope."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.errors import BadRequest, NotFound, StudyAmbiguous
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
    filed: str = ""
    """Key of the one filed study that is meant; empty: whichever has the identifier."""

    @property
    def path(self) -> str:
        """Address below the root of the service."""
        parts = (("studies", self.study), ("series", self.series), ("instances", self.sop))
        return "".join(f"/{name}/{uid}" for name, uid in parts if uid)

    @property
    def query(self) -> str:
        """What stands behind the path in an address."""
        return f"?filed={self.filed}" if self.filed else ""


@dataclass(frozen=True, slots=True)
class Found:
    """Instances that are open to somebody, with the studies they belong to."""

    studies: dict[str, Study]
    """By their keys."""
    instances: list[Instance]
    """One version of each, in order."""
    other_versions: int = 0
    """Of the one instance that is asked for: how many more there are."""
    filed: str = ""
    """Key of the filed study that was named."""

    def uids(self, instance: Instance) -> Uids:
        """Return the identifiers of an instance."""
        study = self.studies[instance.study_key].study_uid
        return Uids(study, instance.series_uid, instance.sop_uid, self.filed)


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
        StudyAmbiguous: there are such of several persons, and no filed study is named.
    """
    keys = frozenset({uids.filed}) if uids.filed else None
    narrowing = Narrowing(study_uids=frozenset({uids.study}), study_keys=keys)
    seen = {one.study_key: one for one in images.seen(connection, principal, narrowing)}
    found = studies.instances_of(connection, seen, uids.series, uids.sop)
    if len({seen[one.study_key].owner for one in found}) > 1:
        raise StudyAmbiguous("filed for several patients: take the address that a search tells, which names the filing")
    chosen = [one for one in found if one.version == version] if version else found
    counting = _once(studies.counting(chosen))
    if not counting:
        raise NotFound("no such images within scope")
    shown = {one.study_key for one in counting}
    versions = {one.version for one in found if not one.is_preview}
    others = len(versions) - 1 if uids.sop and versions else 0
    return Found({key: one for key, one in seen.items() if key in shown}, counting, others, uids.filed)


def key_image(connection: Connection, principal: Principal, study_key: str) -> tuple[Study, str]:
    """Return a study, announced at least, and the hash of the picture that came ahead of it.

    Raises:
        NotFound: there is none that is open to this principal.
    """
    narrowing = Narrowing(study_keys=frozenset({study_key}), with_announced=True)
    for study in images.seen(connection, principal, narrowing):
        group = (study.site, study.group_id)
        if sha256 := studies.key_images(connection, principal.region, {group}).get(group):
            return study, sha256
    raise NotFound("no such picture within scope")


def search(connection: Connection, principal: Principal, query: Query, uids: Uids, address: str) -> Page:
    """Return the page of a search; `address` is that of the service, for what is found to be fetched by."""
    wanted = query.offset + query.limit + 1
    found = list(islice(_matches(connection, principal, query, uids), query.offset, wanted))
    page = found[: query.limit]
    shown = {study.study_key: study for study, _, _ in page}
    shared = _shared(connection, principal, shown.values())
    told = [
        query.told(_at(one, address, replace(here, filed=study.study_key) if study.study_uid in shared else here))
        for study, here, one in page
    ]
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
    connection: Connection, principal: Principal, query: Query, uids: Uids
) -> Iterator[tuple[Study, Uids, Told]]:
    narrowing = _narrowing(query, uids)
    walk = _Walk(narrowing.walked_most)
    for study in images.seen(connection, principal, narrowing):
        told = study_told(study)
        if not all(key.fits(told) for key in query.of(Level.STUDY)):
            continue
        base = Uids(study.study_uid, filed=query.filed)
        if query.level is Level.STUDY:
            yield study, base, told
            continue
        above = told if not uids.study else {"0020000D": told.get("0020000D", {"vr": "UI"})}
        for series in studies.series_of(connection, {study.study_key}):
            walk.step(1)
            yield from ((study, *one) for one in _below(connection, query, uids, (series, above, base), walk))


def _below(
    connection: Connection, query: Query, uids: Uids, within: tuple[Series, Told, Uids], walk: _Walk
) -> Iterator[tuple[Uids, Told]]:
    series, above, base = within
    told = series.attributes | {"00201209": {"vr": "IS", "Value": [series.instance_count]}}
    is_asked = uids.series in ("", series.series_uid)
    if not is_asked or not all(key.fits(told) for key in query.of(Level.SERIES)):
        return
    here = replace(base, series=series.series_uid)
    if query.level is Level.SERIES:
        yield here, above | told
        return
    over = above | (told if not uids.series else {"0020000E": told.get("0020000E", {"vr": "UI"})})
    walk.step(series.instance_count)
    for instance in studies.counting(studies.instances_of(connection, {series.study_key}, series.series_uid)):
        if all(key.fits(instance.attributes) for key in query.of(Level.INSTANCE)):
            syntax = {"00083002": {"vr": "UI", "Value": [instance.transfer_syntax_uid]}}
            yield replace(here, sop=instance.sop_uid), over | instance.attributes | syntax


def _narrowing(query: Query, uids: Uids) -> Narrowing:
    asked = query.listed("StudyInstanceUID")
    if uids.study:
        asked = frozenset({uids.study}) & (asked if asked is not None else {uids.study})
    series = frozenset({uids.series}) if uids.series else query.listed("SeriesInstanceUID")
    days = next((key.span for key in query.keys if key.attribute.keyword == "StudyDate" and key.value), ("", ""))
    keys = frozenset({query.filed}) if query.filed else None
    sops = query.listed("SOPInstanceUID")
    found = Narrowing(study_keys=keys, study_uids=asked, series_uids=series, sop_uids=sops, dates=days)
    return found if found.names_few else replace(found, walked_most=WALK_MOST)


def _once(found: list[Instance]) -> list[Instance]:
    """Return each instance once where one person has it in two filings: the whole, and the earliest."""
    ranked = sorted(found, key=lambda one: (one.is_preview, one.version, one.study_key), reverse=True)
    best = {one.sop_uid: one for one in ranked}
    return [one for one in found if best[one.sop_uid] is one]


def _shared(connection: Connection, principal: Principal, shown: Collection[Study]) -> set[str]:
    """Return the identifiers among those shown under which more than one person is seen by whoever asks."""
    owners = dict[str, set[tuple[str, str]]]()
    uids = frozenset(one.study_uid for one in shown)
    for one in images.seen(connection, principal, Narrowing(study_uids=uids)):
        owners.setdefault(one.study_uid, set()).add(one.owner)
    return {uid for uid, found in owners.items() if len(found) > 1}


def _at(told: Told, address: str, uids: Uids) -> Told:
    return told | {RETRIEVE_URL: {"vr": "UR", "Value": [address + uids.path + uids.query]}}
