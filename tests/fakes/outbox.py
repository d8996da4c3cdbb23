"""An outbox in memory, for tests of the pump."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from telemed import wire
from telemed.topics import Up
from telemed.wire import Codec, Kind, Record, Stamp

from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.errors import BufferFailure
from edge_node.uplink.pump import Outbox

EPOCH = 2**64 - 1


@dataclass
class MemoryOutbox:
    rows: dict[str, list[Record]] = field(default_factory=dict)
    acked: dict[str, int] = field(default_factory=dict)
    hour_from: int = 0
    """What `newest_hour_from` answers."""
    is_failing: bool = False
    """Whether nothing can be noted."""

    def store(self, stream: str, count: int = 1, payload: bytes = b"x") -> None:
        rows = self.rows.setdefault(stream, [])
        for _ in range(count):
            rows.append(
                wire.seal(
                    stream=stream,
                    kind=Kind.NUMERIC_SET,
                    epoch=EPOCH,
                    seq=len(rows) + 1,
                    stamp=Stamp(1, 1, 1),
                    codec=Codec.PLAIN,
                    payload=payload,
                )
            )

    def streams(self, up: Up) -> Mapping[StreamKey, StreamState]:
        return {
            StreamKey(stream, EPOCH): StreamState(stream, EPOCH, len(rows) + 1, self.acked.get(stream, 0))
            for stream, rows in self.rows.items()
        }

    async def read_run(self, up: Up, key: StreamKey, first: int, last: int) -> list[Record]:
        return self.rows[key[0]][first - 1 : last]

    async def acknowledge(self, up: Up, contigs: Mapping[StreamKey, int]) -> None:
        if self.is_failing:
            raise BufferFailure("disk I/O error")
        self.acked.update({key[0]: contig for key, contig in contigs.items()})

    async def newest_hour_from(self, up: Up, key: StreamKey) -> int:
        return self.hour_from


def key_of(outbox: Outbox, up: Up, stream: str) -> StreamKey:
    """Return the key of a stream of which there is one epoch."""
    (key,) = [key for key in outbox.streams(up) if key[0] == stream]
    return key
