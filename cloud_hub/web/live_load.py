"""Builds the live picture from the databases: at start, and a site anew when its set-up changed."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection
from telemed.v1 import sample_pb2

from cloud_hub.care import referral
from cloud_hub.care.alarms import Alarm
from cloud_hub.care.places import Place, Stay
from cloud_hub.care.referral import Referral
from cloud_hub.store import alarms, events, persons, samples
from cloud_hub.store.persons import Device, Node, Person

KEEP_ALARMS_NS = 24 * 3600 * 10**9
KEEP_REFERRALS_NS = 30 * 86400 * 10**9
ALARMS_LIMIT = 300
SETS_PER_STREAM = 40
"""Newest sets looked at for each stream at start: enough for a slow cuff beside a fast oximeter."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """Who and what is where at some sites."""

    nodes: list[Node]
    persons: dict[str, Person]
    """Those who lie there, and who else was asked for, by id."""
    stays: list[Stay]
    places: list[Place]
    devices: list[Device]


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A numeric set out of the store."""

    site: str
    node: str
    device: str
    received_ns: int
    came_ns: int
    sample: sample_pb2.NumericSet


def set_up(
    connection: Connection, region: str, sites: Collection[str] | None, now_ns: int, others: Collection[str] = ()
) -> SetUp:
    """Return who and what is where now at these sites (None = all of the region).

    Of the persons those who lie there, and these others: a region has known a million after a year.
    """
    stays = persons.open_stays(connection, region, sites)
    return SetUp(
        nodes=persons.nodes(connection, region, sites),
        persons=persons.persons_named(connection, region, {stay.person_id for stay in stays}.union(others)),
        stays=stays,
        places=[place for place in persons.places(connection, region, sites, since_ns=now_ns) if place.to_ns is None],
        devices=persons.devices(connection, region, sites),
    )


def open_alarms(connection: Connection, region: str, now_ns: int) -> list[Alarm]:
    """Return the alarms that stand or moved in the last day."""
    return alarms.recent(connection, region, None, now_ns - KEEP_ALARMS_NS, ALARMS_LIMIT)


def open_referrals(connection: Connection, region: str, now_ns: int) -> dict[str, tuple[str, Referral]]:
    """Return (site, referral) by id of those that moved in the last 30 days."""
    found = {}
    for (site, referral_id), log in events.of_type(connection, region, "referral", now_ns - KEEP_REFERRALS_NS).items():
        folded = referral.fold(referral_id, log)
        if folded is not None:
            found[referral_id] = (site, folded)
    return found


def referred(connection: Connection, region: str, referrals: Iterable[Referral]) -> dict[str, Person]:
    """Return the persons whom referrals are about, by id."""
    return persons.persons_named(connection, region, {one.submitted.person_id for one in referrals})


def one_referral(connection: Connection, region: str, referral_id: str) -> tuple[str, Referral] | None:
    """Return (site, referral), None where there is none."""
    site = events.site_of(connection, region, "referral", referral_id)
    if site is None:
        return None
    where = events.Place(region, site)
    folded = referral.fold(referral_id, events.of_aggregate(connection, where, "referral", referral_id))
    return (site, folded) if folded else None


def newest_sets(connection: Connection, sites: Collection[str], before_ns: int) -> list[StoredSet]:
    """Return the newest numeric sets of all devices of these sites, oldest first."""
    found = []
    for site in sites:
        streams = {stream.id: stream for stream in samples.streams_of(connection, site) if stream.kind == "numeric"}
        for stored in samples.newest_of(connection, list(streams), SETS_PER_STREAM, before_ns):
            stream = streams[stored.stream_id]
            sample = samples.numeric_set(stored)
            if sample is not None:
                came_ns = stored.record.stamp.not_after_ns(stored.received_ns)
                at = (stored.received_ns, came_ns)
                found.append(StoredSet(site, stream.address.node, stream.device, *at, sample))
    return sorted(found, key=lambda one: one.sample.measured_at_unix_ns)
