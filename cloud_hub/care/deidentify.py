"""Structured records made fit for research and retraining (clinical 9.6 no. 1), of those alone who agreed to it.  Pure.

What is left of a person: a code, sex, an age band, a place, and numbers with moved times.  A set is released only
if each combination of sex, age and place is shared by `LEAST_ALIKE` persons; it is made coarser until nearly all
fit, and who still stands out is left out.  Free text never goes along; what it seems to hold is counted.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from telemed.measures import CODED, MEASURES, is_plausible

from cloud_hub.care.places import age_years
from cloud_hub.care.pseudonym import Project

LEAST_ALIKE = 10
"""k of k-anonymity: rural towns are small."""
OLDEST_SHOWN = 89
"""Whoever is older is `90+` (HIPAA Safe Harbor)."""
MOST_LEFT_OUT_PCT = 5
"""A coarser view is taken where more than this share would have to be left out."""
_NS_PER_DAY = 86_400 * 10**9
SEXES = frozenset({"male", "female"})


@dataclass(frozen=True, slots=True)
class Value:
    """One measured value."""

    measure: str
    text: str
    unit: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Subject:
    """A person as the hub knows them."""

    person_id: str
    sex: str
    birth_date: str
    town: str
    values: tuple[Value, ...]
    notes: tuple[str, ...] = ()
    """Everything in words: notes, allergies, referral questions."""


@dataclass(frozen=True, slots=True)
class Quasi:
    """What could point at somebody who is known from elsewhere."""

    sex: str
    age: str
    town: str


@dataclass(frozen=True, slots=True)
class Released:
    """What is left of a person."""

    code: str
    quasi: Quasi
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """How coarse a set is."""

    band_years: int
    """Width of the age bands; 0 = ages are not shown."""
    has_town: bool


LEVELS = (Level(5, True), Level(10, True), Level(10, False), Level(20, False), Level(0, False))
"""From fine to coarse; the first is taken in which nearly all are alike enough."""


@dataclass(frozen=True, slots=True)
class Release:
    """A set, and what had to be done for it."""

    rows: tuple[Released, ...]
    level: Level
    without_consent: int
    left_out: int
    """Persons who stood out at every level."""
    withheld_texts: int
    withheld_values: int
    """Values that are no number and no code."""
    found_in_texts: dict[str, int]
    """What the withheld texts seem to hold, by kind: whoever wants them must look at this first."""


class NotAlike(ValueError):
    """A set in which somebody stands out; it must not leave."""


def release(subjects: Sequence[Subject], agreed: Collection[str], project: Project) -> Release:
    """Return the set that may leave, made of those who agreed (clinical 9.4 C7) and nobody else.

    Raises:
        NotAlike: it would not be k-anonymous; cannot be but by a fault of ours, and is looked at all the same.
    """
    asked = [one for one in subjects if one.person_id in agreed]
    level, kept = _coarse_enough(asked)
    rows = tuple(_released(one, level, project) for one in kept)
    check(rows)
    return Release(
        rows=tuple(sorted(rows, key=lambda one: one.code)),
        level=level,
        without_consent=len(subjects) - len(asked),
        left_out=len(asked) - len(kept),
        withheld_texts=sum(len(one.notes) for one in kept),
        withheld_values=sum(len(one.values) for one in kept) - sum(len(one.values) for one in rows),
        found_in_texts=dict(Counter(kind for one in kept for text in one.notes for kind in found_in(text))),
    )


def check(rows: Iterable[Released], least: int = LEAST_ALIKE) -> None:
    """Pass where everybody is alike to enough others.

    Raises:
        NotAlike: somebody stands out; names the class, which says nothing that the set would not say.
    """
    for quasi, count in Counter(one.quasi for one in rows).items():
        if count < least:
            raise NotAlike(f"{count} of {least}: {quasi.sex}, {quasi.age}, {quasi.town or 'any place'}")


def found_in(text: str) -> frozenset[str]:
    """Return which kinds of identifiers a text seems to hold; not finding one proves nothing."""
    found = {kind for kind, pattern in _PATTERNS.items() if pattern.search(text)}
    if any(is_citizen_number(one) for one in _CITIZEN.findall(text)):
        found.add("citizen-number")
    return frozenset(found)


def is_citizen_number(text: str) -> bool:
    """True where 18 characters are a Chinese citizen number by its check digit (GB 11643, ISO 7064 MOD 11-2)."""
    if not re.fullmatch(r"\d{17}[\dXx]", text, re.ASCII):
        return False
    total = sum(int(digit) * pow(2, 17 - at, 11) for at, digit in enumerate(text[:17]))
    return "10X98765432"[total % 11] == text[17].upper()


_CITIZEN = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)", re.ASCII)
_PATTERNS = {
    "phone": re.compile(r"(?<!\d)(1[3-9]\d{9}|0\d{2,3}[- ]?\d{7,8})(?!\d)", re.ASCII),
    "bed-number": re.compile(r"床号|\d+\s*床|\bbed\s*(no\.?\s*)?\d+", re.IGNORECASE),
    "record-number": re.compile(r"住院号|病历号|门诊号|档案号|\bMRN\b", re.IGNORECASE),
    "address": re.compile(r"[一-龥]{1,8}(村|组|社区|小区|街道|路|巷)\s*\d*\s*号?"),
    "date": re.compile(r"(19|20)\d{2}\s*[-年./]\s*\d{1,2}\s*[-月./]\s*\d{1,2}"),
    "name": re.compile(
        r"(患者|病人|家属|儿子|女儿|丈夫|妻子|老伴|姓名)\s*[:：]?\s*[一-龥]{2,3}|\b(Mr|Mrs|Ms|Dr)\.?\s+[A-Z]"
    ),
}


def _coarse_enough(asked: Sequence[Subject]) -> tuple[Level, list[Subject]]:
    kept: list[Subject] = []
    for level in LEVELS:
        classes = Counter(_quasi(one, level) for one in asked)
        kept = [one for one in asked if classes[_quasi(one, level)] >= LEAST_ALIKE]
        if (len(asked) - len(kept)) * 100 <= MOST_LEFT_OUT_PCT * len(asked):
            return level, kept
    return LEVELS[-1], kept


def _quasi(one: Subject, level: Level) -> Quasi:
    sex = one.sex if one.sex in SEXES else "other"
    return Quasi(sex, _age(one, level.band_years), one.town if level.has_town else "")


def _age(one: Subject, band_years: int) -> str:
    """Age when first measured, by its true time; the moved times would tell another one."""
    first_ns = min((value.at_ns for value in one.values), default=0)
    age = age_years(one.birth_date, first_ns) if first_ns else None
    if age is None or age < 0 or not band_years:
        return ""
    if age > OLDEST_SHOWN:
        return f"{OLDEST_SHOWN + 1}+"
    low = age // band_years * band_years
    return f"{low}-{min(low + band_years - 1, OLDEST_SHOWN)}"


def _released(one: Subject, level: Level, project: Project) -> Released:
    by_ns = project.shift_days(one.person_id) * _NS_PER_DAY
    values = tuple(
        Value(value.measure, value.text, MEASURES[value.measure].unit, value.at_ns + by_ns)
        for value in sorted(one.values, key=lambda value: value.at_ns)
        if _is_plain(value)
    )
    return Released(project.code("person", one.person_id), _quasi(one, level), values)


def _is_plain(value: Value) -> bool:
    """True for a number that a measure may have, or one of its codes: whatever else a device sends may be words."""
    if value.measure not in MEASURES:
        return False
    if value.measure in CODED:
        return value.text in CODED[value.measure]
    try:
        return Decimal(value.text).is_finite() and is_plausible(value.measure, value.text)
    except InvalidOperation:
        return False
