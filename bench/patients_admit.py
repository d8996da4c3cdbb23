"""The events by which an edge puts its patients into beds, as a node's own command would propose them."""

import time
from collections.abc import Iterator

from telemed import wire
from telemed.v1 import event_pb2

STREAM = "node/care"
HOUR_NS = 3_600 * 10**9


def admission(node: str, beds: int) -> list[wire.Record]:
    """Return sealed events: the node, and for each bed its monitor, its person and that they lie in it."""
    now_ns = time.time_ns()
    stamp = wire.Stamp(now_ns, time.monotonic_ns(), 1)
    sealed = []
    for seq, event in enumerate(_events(node, beds), 1):
        event.event_id = f"{node}-{seq}"
        event.at_unix_ns = now_ns
        event.actor.CopyFrom(event_pb2.Actor(username=node, role="node"))
        codec, payload = wire.pack(event.SerializeToString())
        sealed.append(
            wire.seal(stream=STREAM, kind=wire.Kind.EVENT, epoch=7, seq=seq, stamp=stamp, codec=codec, payload=payload)
        )
    return sealed


def _events(node: str, beds: int) -> Iterator[event_pb2.Event]:
    labels = [event_pb2.BedLabel(bed=f"B{bed:02d}", label=f"{bed:02d}") for bed in range(beds)]
    yield _event("node", node, node_described=event_pb2.NodeDescribed(name_zh=node, name_en=node, beds=labels))
    for bed, label in enumerate(labels):
        person = f"{node}-p{bed:02d}"
        placed = event_pb2.DevicePlaced(bed=label.bed, family="hl7_monitor", node=node)
        yield _event("device", f"mon-{bed:02d}", device_placed=placed)
        known = event_pb2.Identifier(system="BENCH", value=person)
        registered = event_pb2.PersonRegistered(
            family_name="谷", given_name="雨", gender="female", birth_date="1952-03-14", identifiers=[known]
        )
        yield _event("person", person, person_registered=registered)
        since_ns = time.time_ns() - HOUR_NS
        assigned = event_pb2.BedAssigned(person_id=person, from_unix_ns=since_ns, episode_class="CHRONIC")
        yield _event("bed", label.bed, bed_assigned=assigned)


def _event(kind: str, key: str, **body: object) -> event_pb2.Event:
    return event_pb2.Event(aggregate_type=kind, aggregate_id=key, **body)  # type: ignore[arg-type]
