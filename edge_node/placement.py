"""What the hub must know of this node's set-up: proposed at start, only where it changed."""

from collections.abc import Iterable, Iterator, Sequence

from telemed.v1 import event_pb2

from edge_node.config import EdgeConfig
from edge_node.samples.identifiers import uuid7
from edge_node.samples.roster import Roster

NODE_ROLE = "node"
"""The role under which a node speaks about its own set-up."""


def manual_device(bed: str) -> str:
    """Code of the device under which entries typed in at a bed are stored."""
    return f"manual-{bed.lower().replace('_', '-')}"


Limits = Sequence[event_pb2.MeasureLimit]
"""Alarm limits in force at this node, which the hub shows beside values."""


def changes(config: EdgeConfig, roster: Roster, now_ns: int, limits: Limits = ()) -> Iterator[event_pb2.Event]:
    """Yield the events that tell what differs from what the site's log says."""
    for device, placed in _devices(config):
        if roster.devices.get(device) != placed:
            event = _event(config, "device", device, roster, now_ns)
            event.device_placed.CopyFrom(placed)
            yield event
    described = _described(config, limits)
    if roster.nodes.get(config.node.node) != described:
        event = _event(config, "node", config.node.node, roster, now_ns)
        event.node_described.CopyFrom(described)
        yield event


def _devices(config: EdgeConfig) -> Iterable[tuple[str, event_pb2.DevicePlaced]]:
    for row in config.devices:
        yield (
            row.device,
            event_pb2.DevicePlaced(
                eui64=row.eui64 or "",
                bed=row.bed or "",
                model=row.model,
                family=row.family,
                node=config.node.node,
                has_camera=row.family == "camera",
            ),
        )
    for bed in config.beds:
        yield (
            manual_device(bed.bed),
            event_pb2.DevicePlaced(bed=bed.bed, family="manual", node=config.node.node),
        )


def _described(config: EdgeConfig, limits: Limits) -> event_pb2.NodeDescribed:
    node = config.node
    return event_pb2.NodeDescribed(
        name_zh=node.name_zh,
        name_en=node.name_en,
        phone=node.phone,
        home=node.home,
        beds=[event_pb2.BedLabel(bed=row.bed, label=row.label) for row in config.beds],
        limits=limits,
    )


def _event(config: EdgeConfig, kind: str, key: str, roster: Roster, now_ns: int) -> event_pb2.Event:
    node = config.node
    return event_pb2.Event(
        event_id=uuid7(now_ns),
        aggregate_type=kind,
        aggregate_id=key,
        base_version=roster.version(kind, key),
        at_unix_ns=now_ns,
        actor=event_pb2.Actor(username=node.node, role=NODE_ROLE, name_zh=node.name_zh, name_en=node.name_en),
    )
