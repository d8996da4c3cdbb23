"""An outbox in memory, for tests of the pump."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from telemed import wire
from telemed.topics import Up
from telemed.wire import Codec, Kind, Record, Stamp

from edge_node.buffer.outbox import StreamState

EPOCH = 2**64 - 1


@dataclass
class MemoryOutbox:
    rows: dict[str, list[Record]] = field(default_factory=dict)
    acked: dict[str, int] = field(default_factory=dict)

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

    def streams(self, up: Up) -> Mapping[str, StreamState]:
        return {
            stream: StreamState(stream, EPOCH, len(rows) + 1, self.acked.get(stream, 0))
            for stream, rows in self.rows.items()
        }

    async def read_run(self, up: Up, stream: str, first: int, last: int) -> list[Record]:
        return self.rows[stream][first - 1 : last]

    async def acknowledge(self, up: Up, contigs: Mapping[str, int]) -> None:
        self.acked.update(contigs)
