"""Searches of QIDO-RS: strict reading of the parameters, and matching as PS3.4 C.2.2.2 has it.  Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud_hub.errors import BadRequest
from cloud_hub.imaging.attributes import BY_NAME, ORDER, Attribute, Level

LIMIT_DEFAULT, LIMIT_MOST, OFFSET_MOST = 200, 1000, 100_000
LONGEST_VALUE_CHARS = 1024
STUDY_KEY = r"[0-9a-f]{64}"
"""What names a filed study: its FHIR id, and `filed` in an address."""
WIDTH = 13
"""Digits of the most precise time, with its point."""
Values = Sequence[tuple[str, str]]
_LISTS = frozenset({"ModalitiesInStudy", "Modality"})
"""Codes of which clients name several, as they may of identifiers."""


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute with what it must be."""

    attribute: Attribute
    value: str

    @property
    def listed(self) -> frozenset[str]:
        """The values, one of which is to be met."""
        return frozenset(part.strip() for part in re.split(r"[\\,]", self.value) if part.strip())

    @property
    def span(self) -> tuple[str, str]:
        """First and last of a range of dates or times; empty: open."""
        first, dash, last = self.value.partition("-")
        return first.strip(), last.strip() if dash else first.strip()

    def fits(self, told: dict[str, Any]) -> bool:
        """True where what is told of one entity matches; no value matches everything."""
        if not self.value:
            return True
        values = [one for one in told.get(self.attribute.tag, {}).get("Value", []) if one is not None]
        return any(self._fits_one(value) for value in values)

    def _fits_one(self, value: Any) -> bool:
        if self.attribute.vr == "UI" or self.attribute.keyword in _LISTS:
            return str(value) in self.listed
        if self.attribute.vr in ("DA", "TM"):
            return _within(str(value), *self.span)
        if self.attribute.vr in ("IS", "US"):
            return str(value).strip() == self.value.strip().lstrip("+")
        if self.attribute.vr == "PN":
            groups = value.values() if isinstance(value, dict) else [value]
            return any(_like(self.value.casefold(), str(group).casefold()) for group in groups)
        return _like(self.value, str(value))


@dataclass(frozen=True, slots=True)
class Query:
    """A search, read from its parameters."""

    level: Level
    keys: tuple[Key, ...] = ()
    limit: int = LIMIT_DEFAULT
    offset: int = 0
    included: frozenset[str] = field(default_factory=frozenset)
    """Tags that are told beside the usual ones."""
    includes_all: bool = False
    filed: str = ""
    """Key of the one filed study that is searched; empty: all."""

    def of(self, level: Level) -> tuple[Key, ...]:
        """Return the keys of one level."""
        return tuple(key for key in self.keys if key.attribute.level is level)

    def listed(self, keyword: str) -> frozenset[str] | None:
        """Return the identifiers that are asked for; None where any will do."""
        return next((key.listed for key in self.keys if key.attribute.keyword == keyword and key.value), None)

    def told(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Return of the attributes of an entity those that are told."""
        return {tag: element for tag, element in attributes.items() if self.includes_all or self._is_told(tag)}

    def _is_told(self, tag: str) -> bool:
        attribute = BY_NAME.get(tag)
        return attribute is None or attribute.is_always_told or tag in self.included or self._asks_for(tag)

    def _asks_for(self, tag: str) -> bool:
        return any(key.attribute.tag == tag for key in self.keys)


def read(level: Level, values: Values) -> Query:
    """Return the search that parameters mean.

    Raises:
        BadRequest: with the names of those that are not understood, or not offered.
    """
    keys, limit, offset, included, filed = list[Key](), LIMIT_DEFAULT, 0, set[str](), ""
    for name, value in values:
        match name.lower():
            case "limit":
                limit = min(_whole(name, value, least=1), LIMIT_MOST)
            case "offset":
                offset = _whole(name, value, least=0)
            case "includefield":
                included |= {part.strip() for part in value.split(",")}
            case "fuzzymatching":
                _demand_exact(value)
            case "accept":
                continue
            case "filed":
                filed = _study_key(name, value)
            case _:
                keys.append(_key(level, name, value))
    if offset > OFFSET_MOST:
        raise BadRequest(f"offset is at most {OFFSET_MOST}: narrow the search, by date for instance", ["offset"])
    return Query(level, tuple(keys), limit, offset, _tags(included), "all" in included, filed)


def _key(level: Level, name: str, value: str) -> Key:
    found = BY_NAME.get(name) or BY_NAME.get(name.upper())
    if found is None:
        known = ", ".join(one for one in BY_NAME if not one[0].isdigit())
        raise BadRequest(f"{name[:64]} cannot be searched by here; there are: {known}", [name[:64]])
    if ORDER.index(found.level) > ORDER.index(level):
        raise BadRequest(f"{name} is of a {found.level}: search {found.level} with it, or ModalitiesInStudy", [name])
    if len(value) > LONGEST_VALUE_CHARS:
        raise BadRequest(f"{name} is too long", [name])
    key = Key(found, value.strip())
    if found.vr in ("DA", "TM") and value.strip() and not _is_range(found.vr, key.span):
        form = "YYYYMMDD" if found.vr == "DA" else "HHMMSS"
        raise BadRequest(f"{name} is {form}, or a range {form}-{form}", [name])
    return key


def _is_range(vr: str, span: tuple[str, str]) -> bool:
    pattern = r"(\d{8})?" if vr == "DA" else r"(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?"
    return any(span) and all(re.fullmatch(pattern, part) for part in span)


def _tags(included: set[str]) -> frozenset[str]:
    found = set()
    for name in included - {"all", ""}:
        attribute = BY_NAME.get(name) or BY_NAME.get(name.upper())
        if attribute is None and not re.fullmatch(r"[0-9A-Fa-f]{8}|[A-Za-z0-9]{1,64}", name):
            raise BadRequest("includefield is a keyword, a tag of eight hex digits, or all", ["includefield"])
        # What the index does not keep cannot be told; the standard lets it be left out.
        found.add(attribute.tag if attribute else name.upper())
    return frozenset(found)


def _demand_exact(value: str) -> None:
    if value.lower() == "true":
        raise BadRequest("fuzzymatching is not offered: use * and ? in the name", ["fuzzymatching"])
    if value.lower() != "false":
        raise BadRequest("fuzzymatching is true or false", ["fuzzymatching"])


def _study_key(name: str, value: str) -> str:
    if not re.fullmatch(STUDY_KEY, value):
        raise BadRequest(f"{name} is the key of a study, 64 hex digits", [name])
    return value


def _whole(name: str, value: str, least: int) -> int:
    if not re.fullmatch(r"\d{1,9}", value) or int(value) < least:
        raise BadRequest(f"{name} is a whole number from {least}", [name])
    return int(value)


def _within(value: str, first: str, last: str) -> bool:
    """Compare dates or times as text; a time that is not precise means all that begins so."""
    digits = value.strip()
    is_late = digits.ljust(WIDTH, "0") >= first.ljust(WIDTH, "0")
    return bool(digits) and is_late and (not last or digits <= last.ljust(WIDTH, "9"))


def _like(pattern: str, text: str) -> bool:
    """Match * and ? as PS3.4 C.2.2.2.4 has them, in time that grows with the lengths alone."""
    parts = pattern.split("*")
    if len(parts) == 1:
        return _same(pattern, text) and len(pattern) == len(text)
    begin, end = parts[0], parts[-1]
    if len(text) < len(begin) + len(end) or not _same(begin, text) or not _same(end, text[len(text) - len(end) :]):
        return False
    at, until = len(begin), len(text) - len(end)
    for part in parts[1:-1]:
        found = next((place for place in range(at, until - len(part) + 1) if _same(part, text[place:])), -1)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _same(pattern: str, text: str) -> bool:
    return len(text) >= len(pattern) and all(one in ("?", other) for one, other in zip(pattern, text, strict=False))
