"""Who lay where, and which device stood where: facts with a beginning and an end (decision 2)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime


@dataclass(frozen=True, slots=True)
class Stay:
    """A person in a bed."""

    site: str
    bed: str
    person_id: str
    from_ns: int
    to_ns: int | None
    """None while the person lies there."""
    episode_class: str = ""

    def holds(self, at_ns: int) -> bool:
        """True where the person lay there at this instant; the end itself belongs to whoever comes next."""
        return self.from_ns <= at_ns and (self.to_ns is None or at_ns < self.to_ns)


@dataclass(frozen=True, slots=True)
class Place:
    """A device at a bed."""

    site: str
    node: str
    device: str
    bed: str
    from_ns: int
    to_ns: int | None

    def holds(self, at_ns: int) -> bool:
        """True where the device stood there at this instant."""
        return self.from_ns <= at_ns and (self.to_ns is None or at_ns < self.to_ns)


def person_in(stays: Iterable[Stay], bed: str, at_ns: int) -> str | None:
    """Id of the person who lay in this bed at that time; None where nobody did."""
    return next((stay.person_id for stay in stays if stay.bed == bed and stay.holds(at_ns)), None)


def bed_of(places: Iterable[Place], node: str, device: str, at_ns: int) -> str | None:
    """Bed at which this device stood at that time; None where it stood at none."""
    return next(
        (place.bed for place in places if (place.node, place.device) == (node, device) and place.holds(at_ns)), None
    )


def age_years(birth_date: str, now_ns: int) -> int | None:
    """Completed years since an ISO 8601 date; None where the date is missing or only partly known."""
    try:
        born = date.fromisoformat(birth_date)
    except ValueError:
        return None
    today = datetime.fromtimestamp(now_ns / 1e9, UTC).date()
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))
