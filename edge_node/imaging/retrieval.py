"""C-FIND and C-MOVE inside a receiver: for named readers, and to named destinations alone (PS3.4 annex C).

It reads the catalogue and never writes to it.  Objects go as they came, bit for bit, each under its own syntax.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from edge_node.imaging import entries, matching
from edge_node.imaging.elements import Malformed, walked
from edge_node.imaging.matching import NotAnswerable, Query
from edge_node.imaging.objects import Objects
from edge_node.imaging.schema import FILE
from edge_node.imaging.syntax import syntax_of

PENDING, CANCELLED = 0xFF00, 0xFE00
UNABLE = 0xC000
MOST_CONTEXTS = 128
"""Of one association (PS3.8 9.3.2.2)."""
IDENTIFIER_LIMIT_BYTES = 64 * 1024
MOST_MATCHES = 5000

Answer = tuple[int, Dataset | None]


class Raw(Dataset):
    """Stands for a stored object that is sent as it lies in its file."""

    path: Path


class SendingEntity(AE):
    """An application entity whose associations send stored files without decoding them."""

    def associate(self, *arguments: Any, **options: Any) -> Association:
        """Open an association to a destination of a move."""
        found = super().associate(*arguments, **options)
        found.send_c_store = partial(_send, found.send_c_store)  # type: ignore[method-assign]
        return found


def _send(send: Callable[..., Dataset], dataset: Dataset, *arguments: Any, **options: Any) -> Dataset:
    # Fragments are even (PS3.8 E.1): a peer that is told an odd one gives up the whole move.
    if isinstance(dataset, Raw) and dataset.path.stat().st_size % 2:
        raise ValueError("a data set of odd length")
    return send(dataset.path if isinstance(dataset, Raw) else dataset, *arguments, **options)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Answers queries and moves; may be asked from several threads."""

    folder: Path
    """Of the images."""
    objects: Objects
    ae_title: str
    readers: frozenset[str]
    destinations: dict[str, tuple[str, int]]
    """AE title to address and port."""
    refused: Callable[[str], None]

    def find(self, event: Event) -> Iterator[Answer]:
        """Answer one C-FIND request."""
        query = self._query(event, is_move=False)
        if query is None:
            yield UNABLE, None
            return
        for entry in self._entries(query):
            if event.is_cancelled:
                yield CANCELLED, None
                return
            yield PENDING, matching.answer(query, entry, self.ae_title)

    def move(self, event: Event) -> Iterator[Any]:
        """Answer one C-MOVE request: address, number of objects, and each object, as pynetdicom asks for them."""
        destination = self.destinations.get(str(event.move_destination).strip())
        query = self._query(event, is_move=True)
        if destination is None or query is None:
            self.refused("move-refused")
            yield None, None
            return
        found = self._objects(query)
        kinds = dict.fromkeys((entry["SOPClassUID"], entry["transfer_syntax"]) for entry in found)
        contexts = [build_context(str(kind), str(syntax)) for kind, syntax in list(kinds)[:MOST_CONTEXTS]]
        yield (*destination, {"contexts": contexts})
        yield len(found)
        for entry in found:
            if event.is_cancelled:
                yield CANCELLED, None
                return
            yield PENDING, self._raw(entry)

    def _raw(self, entry: entries.Entry) -> Raw:
        raw = Raw()
        raw.path = self.objects.path(str(entry["sha256"]))
        raw.SOPInstanceUID = str(entry["SOPInstanceUID"])
        return raw

    def _query(self, event: Event, *, is_move: bool) -> Query | None:
        """Return what is asked; None where the caller may not ask, or it cannot be answered."""
        if str(event.assoc.requestor.ae_title).strip() not in self.readers:
            self.refused("query-refused")
            return None
        raw = getattr(event.request, "Identifier", None)
        data = raw.getvalue() if raw is not None else b""
        try:
            if len(data) > IDENTIFIER_LIMIT_BYTES:
                raise NotAnswerable("an identifier that is too long")
            # Its depth is not believed either.
            for _ in walked(data, syntax_of(str(event.context.transfer_syntax))):
                pass
            return matching.query_of(event.identifier, is_move=is_move)
        except (NotAnswerable, Malformed):
            self.refused("query-refused")
            return None

    def _entries(self, query: Query) -> list[entries.Entry]:
        with contextlib.closing(self._open()) as connection:
            found = entries.of_level(connection, query)
            return [dict(entry) for entry, _ in zip(matching.matching(query, found), range(MOST_MATCHES), strict=False)]

    def _objects(self, query: Query) -> list[entries.Entry]:
        """Return the objects below what a move names; of one with several contents the first that came."""
        with contextlib.closing(self._open()) as connection:
            below = Query(matching.IMAGE, query.asked, ())
            return [dict(entry) for entry in matching.matching(below, entries.of_level(connection, below))]

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{self.folder / FILE}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        return connection
