"""What was found in the files of edge and hub at one moment, as the invariants take it (pure values)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

StreamKey = tuple[str, str]
"""Name of a stream and its epoch as 16 hex digits."""
Run = tuple[int, int]
"""First and last number, both included."""
ALARM_KINDS = ("alarm",)


def kind_of(key: StreamKey) -> str:
    """Return the last part of a stream's name: what it carries."""
    return key[0].rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Stamped:
    """The times of one record; wall clocks in nanoseconds since 1970."""

    wall_ns: int
    """The edge's, as it believed them."""
    mono_ns: int
    boot: int
    offset_ms: int
    """To the hub's clock, as the edge knew it."""
    offset_error_ms: int
    received_ns: int
    """The hub's, when the record came."""
    source: str = ""
    """Control id of the message that brought it; empty for what no message brought."""


@dataclass(frozen=True, slots=True)
class EdgeStream:
    """How far a stream has come, as the edge has written it down or its log says."""

    next_seq: int
    acked: int


@dataclass(frozen=True, slots=True)
class EdgeSeen:
    """The node's store; taken while it was dead, so that nothing moved."""

    streams: Mapping[StreamKey, EdgeStream]
    crcs: Mapping[StreamKey, Mapping[int, int]]
    """Every row: stream -> number -> checksum."""
    sources: frozenset[str] = frozenset()
    """Control ids of the messages of which it has a row."""
    disk_bytes: int = 0
    declared: Mapping[StreamKey, Sequence[Run]] = field(default_factory=dict)
    """Declared given up, as far as the hub has not acknowledged that."""
    rows: Mapping[str, tuple[StreamKey, int]] = field(default_factory=dict)
    """Control id -> where the row of its message is."""

    def gone(self, key: StreamKey) -> set[int]:
        """Return the numbers of a stream that the node has declared given up."""
        return {seq for first, last in self.declared.get(key, ()) for seq in range(first, last + 1)}

    @property
    def waiting(self) -> int:
        """How many records the hub has not acknowledged."""
        return sum(
            stream.next_seq - 1 - stream.acked - sum(seq > stream.acked for seq in self.gone(key))
            for key, stream in self.streams.items()
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """What the hub says it has of a stream."""

    contig: int
    max: int
    gaps: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True)
class HubSeen:
    """The hub's stores of one node; of a running hub everything that was committed at one moment."""

    marks: Mapping[StreamKey, Mark]
    pages: Mapping[StreamKey, Sequence[tuple[int, int]]]
    """(number, checksum) as a reader sees them who pages through a stream by its numbers."""
    dead: Mapping[StreamKey, Mapping[int, str]] = field(default_factory=dict)
    """Dead letters: stream -> number -> reason."""
    shed: Mapping[StreamKey, Sequence[tuple[int, int, str]]] = field(default_factory=dict)
    """Declared given up: first, last, reason."""
    sources: frozenset[str] = frozenset()
    times: Mapping[StreamKey, Mapping[int, Stamped]] = field(default_factory=dict)
    files: frozenset[str] = frozenset()
    """SHA-256 of the files that lie whole in the blob folder and are committed as complete."""
    notices: frozenset[str] = frozenset()
    """Codes of what the operator is told of this node."""

    def has(self, key: StreamKey) -> set[int]:
        """Return the numbers of a stream that are accounted for: stored, dead-lettered or declared given up."""
        stored = {seq for seq, _ in self.pages.get(key, ())}
        declared = {seq for first, last, _ in self.shed.get(key, ()) for seq in range(first, last + 1)}
        return stored | set(self.dead.get(key, {})) | declared


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold, and where."""

    invariant: str
    what: str

    def __str__(self) -> str:
        """Return it as a line of the report."""
        return f"{self.invariant}: {self.what}"
