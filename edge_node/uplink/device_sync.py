"""What of each device waits for the hub, for the presence message (pure)."""

from collections.abc import Iterable, Mapping

from telemed.topics import Up
from telemed.v1 import uplink_pb2

from edge_node.buffer.outbox import StreamState
from edge_node.uplink.presence import ON_ITS_WAY_NS


def behind(streams: Mapping[Up, Iterable[StreamState]], now_ns: int) -> list[uplink_pb2.DeviceSync]:
    """Return the devices of which something waits longer than it takes to travel, by name.

    Args:
        streams: how far the streams of numerics and waves have come.
        now_ns: the node's clock.
    """
    found: dict[str, uplink_pb2.DeviceSync] = {}
    for up, states in streams.items():
        for state in states:
            if state.waiting <= 0 or now_ns - state.oldest_ns <= ON_ITS_WAY_NS[up]:
                continue
            device = state.stream.partition("/")[0]
            row = found.setdefault(device, uplink_pb2.DeviceSync(device=device, oldest_unix_ns=state.oldest_ns))
            row.oldest_unix_ns = min(row.oldest_unix_ns, state.oldest_ns)
            if up is Up.WAVES:
                row.waves += state.waiting
            else:
                row.numerics += state.waiting
    return [found[device] for device in sorted(found)]
