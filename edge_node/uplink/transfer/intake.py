"""Into the queue and out of the spool: the blocking steps that a node and a command line beside it share."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog
from telemed.transfer import GROUP_LIMIT, NAME_LIMIT, FileKind

from edge_node.buffer.failpoint import reach
from edge_node.errors import BufferFailure, BufferFull, FileUnusable
from edge_node.uplink.transfer import manifest, releases, room, rows
from edge_node.uplink.transfer.ledger import Ledger
from edge_node.uplink.transfer.manifest import Manifest
from edge_node.uplink.transfer.parcel import Labels
from edge_node.uplink.transfer.spool import Spool

SPOOL = "spool"
HIGHEST_PRIORITY, LOWEST_PRIORITY = 0, 9

log = structlog.get_logger(__name__)


def open_spool(folder: Path) -> Spool:
    """Open the spool in the buffer's folder.

    Raises:
        BufferFailure: it cannot be made.
    """
    try:
        return Spool(folder / SPOOL)
    except OSError as error:
        raise BufferFailure(f"{folder / SPOOL}: {error.strerror}") from error


def queue_file(spool: Spool, ledger: Ledger, path: Path, labels: Labels, take: Callable[[Path], Manifest]) -> str:
    """Take a file into the spool and queue it; return its id after the synced commit.

    Args:
        spool: where its content goes.
        ledger: the queue.
        path: the file; the caller may delete it once this returns.
        labels: what is said of it.
        take: `spool.take_link` where nobody writes to the file any more, `spool.take_copy` otherwise.

    Raises:
        FileUnusable: it cannot be sent.
        BufferFull: there is no room for it.
        BufferFailure: it is not queued.
    """
    _check(labels)
    try:
        if not room.may_take(spool.used_share(path.stat().st_size)):
            raise BufferFull(f"{path.name}: no room on the disk")
        with spool.adding():
            found = take(path)
            reach("spooled")
            parcel_id = ledger.write_blocking(lambda c: rows.queue(c, found, labels))
    except FileNotFoundError as error:
        raise FileUnusable(f"{path.name}: is not there") from error
    except OSError as error:
        raise BufferFull(f"{path.name}: {error.strerror}") from error
    reach("queued")
    return parcel_id


def requeue(spool: Spool, ledger: Ledger) -> int:
    """Queue all content that lies in the spool, because the queue was lost; return how many files."""
    count = 0
    with spool.adding():
        for sha256 in spool.waiting():
            found = manifest.of_file(spool.waiting_path(sha256))
            labels = Labels(FileKind.OTHER, f"recovered {sha256[:8]}")
            if found.sha256 == sha256:
                ledger.write_blocking(lambda c, found=found, labels=labels: rows.queue(c, found, labels))  # type: ignore[misc]
                count += 1
    log.warning("transfer.queue-recovered", files=count)
    return count


def sweep(spool: Spool, ledger: Ledger, copies_since_ns: int) -> int:
    """Delete content that nothing needs any more; return how many files, 0 where somebody is adding just now.

    Copies of what the hub has go at once where the disk is too full for them.
    """
    with spool.removing() as is_free:
        if not is_free:
            return 0
        now_ns = time.time_ns()
        since_ns = copies_since_ns if room.keeps_copies(spool.used_share()) else now_ns
        ledger.write_blocking(lambda c: rows.delete_old(c, now_ns))
        up = ledger.read_blocking(lambda c: rows.needed(c, since_ns))
        down = ledger.read_blocking(releases.needed)
        return spool.drop_others(up, down)


def _check(labels: Labels) -> None:
    if not labels.name or len(labels.name) > NAME_LIMIT or not labels.name.isprintable():
        raise FileUnusable(f"name: 1 to {NAME_LIMIT} printable characters")
    if len(labels.group) > GROUP_LIMIT:
        raise FileUnusable(f"group: at most {GROUP_LIMIT} characters")
    if not HIGHEST_PRIORITY <= labels.rank <= LOWEST_PRIORITY:
        raise FileUnusable(f"priority: {HIGHEST_PRIORITY} to {LOWEST_PRIORITY}")
