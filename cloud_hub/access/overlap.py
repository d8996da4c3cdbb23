"""How long an earlier authority of the hub is trusted beside the one that issues: until no node is bound to it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import Connection
from telemed.topics import NodeAddress

from cloud_hub.access import authorities
from cloud_hub.access.ca_folder import CaFolder
from cloud_hub.errors import StoreFailure
from cloud_hub.store import node_certificates
from cloud_hub.store.engine import Database
from cloud_hub.store.node_certificates import CertificateRow

NS = 10**9
log = structlog.get_logger(__name__)


def bound(rows: Iterable[CertificateRow], began_ns: int, now_ns: int, grace: timedelta) -> list[NodeAddress]:
    """Return the nodes that could not come back if earlier authorities were trusted no more.

    Args:
        rows: all certificates of a region, by node, the newest of each first.
        began_ns: what was issued until then is of an earlier authority.
        now_ns: the hub's clock.
        grace: how long after its end a certificate may be renewed.
    """
    grace_ns, found, came_over = round(grace.total_seconds()) * NS, dict[NodeAddress, None](), set[NodeAddress]()
    for row in rows:
        # The answer to a renewal may have been lost, however often: until a later certificate was renewed in its turn,
        # and so is known to be in the node's hands, this one may be all that it has.
        until_ns = row.ends_ns if row.address in came_over else row.ends_ns + grace_ns
        if row.next_key_sha256:
            came_over.add(row.address)
        if not row.revoked_ns and row.issued_ns <= began_ns and now_ns <= until_ns:
            found[row.address] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the authorities are."""

    folder: Path
    region: str
    number: int
    """Of the one that issues."""


def still_bound(connection: Connection, place: Place, now_ns: int, grace: timedelta) -> list[NodeAddress]:
    """Return the nodes that are bound to an earlier authority.

    Raises:
        OSError: the folder cannot be read.
        ValueError: what is noted there is no time.
    """
    rows = node_certificates.of_region(connection, place.region)
    began_ns = authorities.began_ns(place.folder, place.number)
    return bound(rows, now_ns if began_ns is None else began_ns, now_ns, grace)


def settle(folder: CaFolder, care: Database, now_ns: int, grace: timedelta) -> bool:
    """Note that the newest authority begins, or trust earlier ones no more; return whether the folder changed so.

    Called at a start of the hub, before anything is shown to nodes.  Blocking.

    Raises:
        OSError: the folder cannot be read or written.
        ValueError: what is noted there is no time.
    """
    if not folder.former:
        return False
    place = Place(folder.folder, folder.region, folder.number)
    try:
        if authorities.began_ns(place.folder, place.number) is None:
            # A clock that was set back must not make what was issued before look as if it came after.
            newest_ns = care.read_blocking(lambda c: node_certificates.latest_ns(c, place.region))
            authorities.note_began(place.folder, place.number, max(now_ns, newest_ns))
        nodes = care.read_blocking(lambda c: still_bound(c, place, now_ns, grace))
    except StoreFailure as failure:
        log.warning("authorities-not-settled", code=failure.code)
        return False
    if nodes:
        log.info("authorities-overlap", nodes=len(nodes))
        return False
    log.info("authority-retired", numbers=authorities.retire(folder.folder))
    return True
