"""What goes first (pure): urgent before priority before previews before age.

Previews go ahead of all bodies of their priority, not of their own group alone: the preview of a second patient is
a few kilobytes, and must not wait for the gigabyte of the first.  Bodies keep together by the age of their group, so
that a study that was begun is finished before the next one.
"""

from collections.abc import Iterable

from edge_node.uplink.transfer.parcel import Parcel

Key = tuple[bool, int, bool, int, str, int, str]


def in_order(parcels: Iterable[Parcel]) -> list[Parcel]:
    """Return parcels in the order in which they go."""
    found = list(parcels)
    born_ns: dict[str, int] = {}
    for parcel in found:
        group = _group(parcel)
        born_ns[group] = min(parcel.queued_ns, born_ns.get(group, parcel.queued_ns))
    return sorted(found, key=lambda parcel: _key(parcel, born_ns[_group(parcel)]))


def _group(parcel: Parcel) -> str:
    # A parcel without a group is a group by itself; an id never looks like a group's name with this in front.
    return f"g {parcel.labels.group}" if parcel.labels.group else f"p {parcel.parcel_id}"


def _key(parcel: Parcel, born_ns: int) -> Key:
    labels = parcel.labels
    return (
        not labels.is_urgent,
        labels.rank,
        not labels.is_preview,
        born_ns,
        _group(parcel),
        parcel.queued_ns,
        parcel.parcel_id,
    )
