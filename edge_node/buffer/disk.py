"""How much room the store has: its own limit, or what the file system really has, whichever is less (pure)."""

from collections.abc import Iterable
from dataclasses import dataclass

from edge_node.buffer import retention
from edge_node.buffer.schema import ALARM, CARE, VITALS

MIB = 1024 * 1024
PAGE_BYTES = 4096
"""SQLite's own page size, with which our files are made."""
WAL_BYTES = {ALARM: MIB // 8, VITALS: 4 * MIB, CARE: MIB // 8}
"""What the write-ahead log of a file grows to before SQLite empties it: a short one leaves more of a full disk."""
WAL_SHARE = 0.05
"""Of the room, left for write-ahead logs at most: on a small disk they are emptied by need, not by habit."""
LEAST_BYTES = 512 * 1024
"""Less room than this, and no measurement is taken."""


@dataclass(frozen=True, slots=True)
class FileSize:
    """How much room a file takes."""

    pages_bytes: int = 0
    """All its pages, those included that are only in the WAL so far."""
    free_bytes: int = 0
    """Pages of it that hold nothing and are used again before it grows."""
    main_bytes: int = 0
    """The file itself, as the file system has it."""
    wal_bytes: int = 0

    @property
    def content_bytes(self) -> int:
        """What is in it."""
        return self.pages_bytes - self.free_bytes


@dataclass(frozen=True, slots=True)
class Disk:
    """How much room there is, and how it is used."""

    limit_bytes: int
    """The store's own limit."""
    free_bytes: int
    """What the file system has left for us."""
    reserve_bytes: int
    """What the reserve holds now."""
    reserve_goal_bytes: int
    taken_bytes: int
    """What the files take, with their write-ahead logs, without the reserve."""
    content_bytes: int
    """What is in them."""
    wal_bytes: int
    promised_bytes: int
    """Pages that are only in write-ahead logs so far and make a file grow when they are moved into it."""

    @property
    def capacity_bytes(self) -> int:
        """The room as a whole."""
        there = self.taken_bytes + self.reserve_bytes + max(0, self.free_bytes - self.promised_bytes)
        return max(1, min(self.limit_bytes, there))

    @property
    def used_share(self) -> float:
        """How much of the room is in use, 0 to 1."""
        return min(1.0, (self.content_bytes + self.wal_bytes) / self.capacity_bytes)

    @property
    def growth_bytes(self) -> int:
        """How much measurements may still make the files grow without touching the reserve."""
        free = min(self.free_bytes - self.promised_bytes, self.limit_bytes - self.taken_bytes - self.reserve_bytes)
        logs = max(0, sum(WAL_BYTES.values()) - self.wal_bytes)
        kept = min(logs, int(WAL_SHARE * self.capacity_bytes))
        return max(0, free - kept - max(0, self.reserve_goal_bytes - self.reserve_bytes))

    def refill_bytes(self) -> int:
        """How much the reserve may take back."""
        wanted = self.reserve_goal_bytes - self.reserve_bytes
        within_limit = self.limit_bytes - self.taken_bytes - self.reserve_bytes
        return max(0, min(wanted, within_limit, self.free_bytes - self.promised_bytes))

    def until_loss_bytes(self, droppable_bytes: int) -> int:
        """How much may come in before something that was not sent is given up, if copies go first."""
        held = self.content_bytes + self.wal_bytes - droppable_bytes
        return int(retention.SHED_SHARE * self.capacity_bytes) - held

    def held_share(self, droppable_bytes: int) -> float:
        """How much of the room is held by what cannot go without loss, 0 to 1."""
        return max(0.0, self.content_bytes + self.wal_bytes - droppable_bytes) / self.capacity_bytes


def measured(limit_bytes: int, free_bytes: int, reserve: tuple[int, int], files: Iterable[FileSize]) -> Disk:
    """Return the room from the sizes of files, the reserve (now, goal) and what the file system has free."""
    sizes = list(files)
    return Disk(
        limit_bytes=limit_bytes,
        free_bytes=free_bytes,
        reserve_bytes=reserve[0],
        reserve_goal_bytes=reserve[1],
        taken_bytes=sum(size.main_bytes + size.wal_bytes for size in sizes),
        content_bytes=sum(size.content_bytes for size in sizes),
        wal_bytes=sum(size.wal_bytes for size in sizes),
        promised_bytes=sum(max(0, size.pages_bytes - size.main_bytes) for size in sizes),
    )


def takes_measurements(disk: Disk, file: FileSize) -> bool:
    """Whether measurements are taken into this file; alarms and events always are."""
    return disk.growth_bytes + file.free_bytes >= min(LEAST_BYTES, disk.capacity_bytes // 100)


def most_pages_bytes(disk: Disk, file: FileSize) -> int:
    """Return how large the file of measurements may become."""
    return file.pages_bytes + disk.growth_bytes // PAGE_BYTES * PAGE_BYTES
