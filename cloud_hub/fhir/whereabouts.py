"""Who a measurement belongs to: where the device stood and who lay there at that instant (decisions 2, 21, 30)."""

from collections import defaultdict
from collections.abc import Iterable

from cloud_hub.care.places import Place, Stay
from cloud_hub.fhir.observation import NOT_FILED, Draft, Source

FAR_NS = 1 << 62


class Whereabouts:
    """Stays and places of some sites, ready to be asked often."""

    def __init__(self, stays: Iterable[Stay], places: Iterable[Place]) -> None:
        self._stays: dict[tuple[str, str], list[Stay]] = defaultdict(list)
        self._places: dict[tuple[str, str, str], list[Place]] = defaultdict(list)
        for stay in stays:
            self._stays[stay.site, stay.bed].append(stay)
        for place in sorted(places, key=lambda one: one.from_ns):
            self._places[place.site, place.node, place.device].append(place)

    def subject(self, draft: Draft) -> str | None:
        """Return the person a measurement is filed under; None where nobody lay there or it is not to be filed."""
        if draft.is_unassigned or draft.origin in NOT_FILED:
            return None
        return self.person_at(draft.source, draft.effective_ns)

    def person_at(self, source: Source, at_ns: int) -> str | None:
        """Return who lay at that instant where a device stood; None where nobody did."""
        bed = self.bed(source, at_ns)
        stays = self._stays[source.site, bed] if bed else []
        return next((stay.person_id for stay in stays if stay.holds(at_ns)), None)

    def bed(self, source: Source, at_ns: int) -> str | None:
        """Return where a device stood.

        Its first known place also holds for the time before: a node reports where a device stands when it
        starts, not when somebody hung it up, and nothing is known that says otherwise.
        """
        places = self._places[source.site, source.node, source.device]
        if places and at_ns < places[0].from_ns:
            return places[0].bed
        return next((place.bed for place in places if place.holds(at_ns)), None)

    def windows(self, person_ids: set[str]) -> dict[tuple[str, str], tuple[int, int]]:
        """Return (site, bed) -> the stretch of time in which one of these persons may have lain there."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for key, stays in self._stays.items():
            for stay in stays:
                if stay.person_id in person_ids:
                    end = FAR_NS if stay.to_ns is None else stay.to_ns
                    begin, last = found.get(key, (stay.from_ns, end))
                    found[key] = (min(begin, stay.from_ns), max(last, end))
        return found

    def window(self, source: Source, windows: dict[tuple[str, str], tuple[int, int]]) -> tuple[int, int] | None:
        """Return the stretch in which a device may have measured whom `windows` was made for; None where never."""
        beds = {place.bed for place in self._places[source.site, source.node, source.device]}
        found = [windows[source.site, bed] for bed in beds if (source.site, bed) in windows]
        return (min(begin for begin, _ in found), max(end for _, end in found)) if found else None
