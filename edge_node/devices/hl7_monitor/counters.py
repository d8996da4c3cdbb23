"""Plain counters of the receiver; the app exports them under the names of the fields."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """What the receiver has seen since it was made; only ever counted up, but for `connections_open`."""

    connections_open: int = 0
    connections_total: int = 0
    connections_refused: int = 0
    """Over the limit of connections."""
    frames: int = 0
    frame_faults: Counter[str] = field(default_factory=Counter)
    """By `mllp.FaultKind`."""
    dropped_bytes: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """By MSA-1 code; "none" where the sender wants no answer."""
    refusals: Counter[str] = field(default_factory=Counter)
    """By code of `telemed.errors.Code`."""
    field_errors: int = 0
    duplicates: int = 0
    reused_control_ids: int = 0
    unassigned: int = 0
    late: int = 0
    clock_suspect: int = 0
    test_messages: int = 0
    unknown_measures: Counter[int] = field(default_factory=Counter)
    """By IEEE code without a row in the measures table."""
    disagreeing_codes: int = 0
    """OBX-3 whose number and name differ; the number won."""
    raw_not_kept: int = 0
    """Messages that were refused and not kept, because too many of their kind came."""
