"""Reads the studies that somebody may see, as a screen lists them: whose they are, and how much of them has come."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection
from telemed import screen

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.store import accounts, persons, studies
from cloud_hub.store.studies import Arrival, Narrowing, Study
from cloud_hub.web.views import ms, ms_or_none, patient_view

COUNT_MOST = 1000
"""More than this nobody counts."""
_DESCRIPTION, _NAME = "00081030", "00100010"
_NAME_FORMS = ("Ideographic", "Alphabetic", "Phonetic")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which studies; what is not named is not asked for."""

    narrowing: Narrowing = field(default_factory=Narrowing)
    modality: str = ""
    is_unread: bool = False
    """True: those alone that are to be read."""
    offset: int = 0
    limit: int = 50

    @property
    def narrowed(self) -> Narrowing:
        """What the database looks for: also what has been announced and is on its way."""
        return replace(self.narrowing, is_unread=self.is_unread, with_announced=True)

    def fits(self, study: Study) -> bool:
        """True where a study is meant."""
        return (not self.modality or self.modality in study.modalities) and (study.is_unread or not self.is_unread)


@dataclass(frozen=True, slots=True)
class Read:
    """What a list shows, and of which studies."""

    rows: screen.StudyRows
    shown: list[Study]


def read_studies(connection: Connection, principal: Principal, asked: Asked, now_ns: int) -> Read:
    """Return a page of the studies that are open to somebody, with how many there are in all."""
    total, shown, is_more = 0, list[Study](), False
    for study in images.seen(connection, principal, asked.narrowed):
        if not asked.fits(study):
            continue
        is_more = total == COUNT_MOST
        if is_more:
            break
        if asked.offset <= total < asked.offset + asked.limit:
            shown.append(study)
        total += 1
    groups = {(one.site, one.group_id) for one in shown}
    arrived = studies.arrivals(connection, principal.region, groups)
    pictures = studies.key_images(connection, principal.region, groups)
    names = _names(connection, principal.region, {one.person_id for one in shown if one.person_id}, now_ns)
    rows = [
        study_row(
            one,
            arrived[one.site, one.group_id],
            names.get(one.person_id or ""),
            _reader(connection, one),
            has_key_image=(one.site, one.group_id) in pictures,
        )
        for one in shown
    ]
    return Read(screen.StudyRows(studies=rows, total=total, is_more=is_more), shown)


def study_row(
    study: Study,
    arrival: Arrival,
    name: screen.Text2 | None,
    reader: screen.Text2 | None = None,
    *,
    has_key_image: bool = False,
) -> screen.StudyRow:
    """Return a study as lists show it; `name` is that of the person, None where it is nobody's."""
    written = _name_written(study.attributes)
    return screen.StudyRow(
        study_key=study.study_key,
        study_uid=study.study_uid,
        site=study.site,
        person_id=study.person_id or "",
        name=name or screen.Text2(zh=written, en=written),
        study_date=study.study_date,
        study_time=study.study_time,
        modalities=list(study.modalities),
        description=str(_first(study.attributes, _DESCRIPTION)),
        series=study.series_count,
        images=study.instance_count,
        state=state_of(study, arrival),
        arrived=arrival.arrived,
        expected=arrival.expected,
        changed_ms=ms(study.indexed_ns),
        is_unread=study.is_unread,
        is_fetched=study.fetched_ns is not None,
        read_by=reader,
        read_ms=ms_or_none(study.reading.at_ns if study.reading else None),
        has_key_image=has_key_image,
    )


def state_of(study: Study, arrival: Arrival) -> str:
    """Return preview, partly or whole.

    What no site announced was stored here, and is whole; of what a site sends without having said how much, nobody
    knows that it is.
    """
    if not study.instance_count:
        return "preview"
    if arrival.expected is None:
        return "partly" if arrival.arrived else "whole"
    return "whole" if arrival.arrived >= arrival.expected else "partly"


def _names(connection: Connection, region: str, ids: Iterable[str], now_ns: int) -> dict[str, screen.Text2]:
    found = {}
    for person_id in ids:
        person = persons.person(connection, region, person_id)
        if person is not None:
            view = patient_view(person, now_ns)
            found[person_id] = screen.Text2(zh=view.name, en=view.name_en or view.name)
    return found


def _reader(connection: Connection, study: Study) -> screen.Text2 | None:
    if study.reading is None:
        return None
    account = accounts.account_of(connection, study.reading.username)
    if account is None:
        return screen.Text2(zh=study.reading.username, en=study.reading.username)
    return screen.Text2(zh=account.name_zh, en=account.name_en)


def _name_written(attributes: dict[str, Any]) -> str:
    """Name of the patient as the images have it, for people to read."""
    value = _first(attributes, _NAME)
    forms = value if isinstance(value, dict) else {}
    text = next((str(forms[form]) for form in _NAME_FORMS if forms.get(form)), "")
    return text.replace("^", " ").strip()


def _first(attributes: dict[str, Any], tag: str) -> Any:
    values = attributes.get(tag, {}).get("Value")
    return values[0] if isinstance(values, list) and values and values[0] is not None else ""
