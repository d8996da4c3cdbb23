"""How long what is kept (clinical 9.5): a versioned table, and what it means.  Only `load` reads a file."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cloud_hub.care.places import Stay
from cloud_hub.errors import ConfigRefused

DEFAULT = Path(__file__).with_name("retention.toml")
NS_PER_DAY = 86_400 * 10**9
AROUND_ALARM_NS = 5 * 60 * 10**9
"""Of the waves this much before and after an alarm stays with the record."""
LEAST_WAVE_DAYS = LEAST_VISITOR_DAYS = 31
"""Nodes hold their copies for up to 30 days: what is deleted here before that would be asked for again."""


class What(StrEnum):
    """Kinds of things that have a time of their own."""

    WAVES = "waves"
    VISITORS = "visitors"
    CONSULTS = "consults"
    MEASUREMENTS = "measurements"
    IMAGES = "images"
    ALARMS = "alarms"
    AUDIT = "audit"


class Then(StrEnum):
    """What is done when the time is over."""

    DELETE = "delete"
    REPORT = "report"  # a person decides
    KEEP = "keep"  # counted, never deleted


CAN_BE_DELETED = frozenset({What.WAVES})
"""What the job deletes by itself; for the rest somebody must decide."""


class Row(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: What
    keep_days: Annotated[int, Field(ge=1, le=36_525)]
    then: Then
    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_done(self) -> "Row":
        if self.then is Then.DELETE and self.what not in CAN_BE_DELETED:
            raise ValueError(f"{self.what} is not deleted by a job: report or keep it")
        if self.what is What.AUDIT and self.then is not Then.KEEP:
            raise ValueError("the audit trail is kept: a chain with holes proves nothing")
        if self.what is What.WAVES and self.keep_days < LEAST_WAVE_DAYS:
            raise ValueError(f"waves are kept {LEAST_WAVE_DAYS} days or more, as long as nodes hold them")
        return self


class Table(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(min_length=1, max_length=40)
    effective: date
    approved_by: str
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _names_everything_once(self) -> "Table":
        if sorted(row.what for row in self.rows) != sorted(What):
            raise ValueError("each kind of thing has exactly one row")
        return self


@dataclass(frozen=True, slots=True)
class Strip:
    """Waves of a node that stay with the record."""

    site: str
    node: str
    from_ns: int
    to_ns: int


def load(path: Path = DEFAULT) -> Table:
    """Return the table of a file.

    Raises:
        ConfigRefused: it cannot be read, or is no table that can be followed.
    """
    try:
        return Table.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigRefused(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors()]
        raise ConfigRefused("\n".join(lines)) from error
    except (ValueError, RecursionError) as error:
        raise ConfigRefused(f"{path}: not valid TOML: {error}") from error


def before_ns(row: Row, now_ns: int) -> int:
    """Return the instant before which the time of a row is over."""
    return now_ns - _keep_days(row) * NS_PER_DAY


def kept_until_ns(
    table: Table, stays: Iterable[Stay], known_ns: int, treated: tuple[int | None, int | None] = (None, None)
) -> int | None:
    """Return until when a person's record must be kept; None while they lie somewhere.

    Who was only ever a visitor is forgotten soon, unless acute or imaged; of anybody else there is a medical record
    (clinical 9.5).  `treated` is when a referral about them last moved, and when an image of them last came; None where
    there never was one.
    """
    own = list(stays)
    if any(stay.to_ns is None for stay in own):
        return None
    days = {row.what: _keep_days(row) for row in table.rows}
    referred_ns, imaged_ns = treated
    is_visitor = treated == (None, None) and bool(own) and all(stay.episode_class == "VISITOR" for stay in own)
    last_ns = max([known_ns, referred_ns or 0, *(stay.to_ns or 0 for stay in own)])
    if is_visitor:
        return last_ns + days[What.VISITORS] * NS_PER_DAY
    record_until_ns = max(last_ns, imaged_ns or 0) + days[What.MEASUREMENTS] * NS_PER_DAY
    return max(record_until_ns, 0 if imaged_ns is None else imaged_ns + days[What.IMAGES] * NS_PER_DAY)


def _keep_days(row: Row) -> int:
    return max(row.keep_days, LEAST_VISITOR_DAYS) if row.what is What.VISITORS else row.keep_days


def strips(alarms: Iterable[tuple[str, str, int, int]]) -> list[Strip]:
    """Return what stays of the waves for these alarms (site, node, begin, last step), joined where they touch."""
    found: list[Strip] = []
    for site, node, onset_ns, moved_ns in sorted(alarms):
        begin_ns, end_ns = onset_ns - AROUND_ALARM_NS, max(onset_ns, moved_ns) + AROUND_ALARM_NS
        last = found[-1] if found else None
        if last is not None and (last.site, last.node) == (site, node) and begin_ns <= last.to_ns:
            found[-1] = Strip(site, node, last.from_ns, max(last.to_ns, end_ns))
        else:
            found.append(Strip(site, node, begin_ns, end_ns))
    return found


def gaps(kept: Iterable[Strip], before: int) -> list[tuple[int, int]]:
    """Return the stretches [from, to) before an instant that none of these strips of one node covers, in order."""
    found, from_ns = [], 0
    for strip in sorted(kept, key=lambda one: one.from_ns):
        if strip.from_ns >= before:
            break
        if strip.from_ns > from_ns:
            found.append((from_ns, strip.from_ns))
        from_ns = max(from_ns, strip.to_ns)
    if from_ns < before:
        found.append((from_ns, before))
    return found
